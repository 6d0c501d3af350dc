// Sums of softplus over the pairs of one role, and their gradients.
//
// With x_ij = b_i - s_ij, s and b in bits (times log2 e): forward U_i = sum_j log2(1 + 2^x_ij) over the other patches
// of the segment; backward, with h = dloss/dU and q_ij = sigmoid(x_ij) = 1 / (1 + 2^-x_ij): dloss/db_i = sum_j h_i q_ij
// and G_i = sum_j (h_i q_ij + h_j q_ji) z_j. The block that owns row i computes both slopes of a pair.
#include "pairs.cuh"

namespace {

// 2^60 is far beyond what 1 + 2^60 can tell from 2^60, and a product of two such sums is still finite.
constexpr float STEEPEST = 60.0f;

// Add the softplus of one key tile to the sums of the warp's rows. With softplus(x) = max(x, 0) + log2(1 + 2^-|x|) no
// power exceeds 1; the four arguments of log2 that belong to one row are multiplied first, which saves three of four.
template <bool MASKED, int BLOCKS>
__device__ __forceinline__ void add_softplus(float (&sums)[BLOCKS][2], const Rows<BLOCKS>& rows, u32 tile,
                                             const float (&bias)[BLOCKS][2], float scale, const Mask& mask) {
#pragma unroll 1
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    const Similarities<BLOCKS> similarities(rows, tile + chunk * CHUNK_BYTES);
#pragma unroll
    for (int block = 0; block < BLOCKS; ++block) {
      float product[2] = {1.0f, 1.0f};
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int v = 0; v < 4; ++v) {
          const float x = bias[block][v / 2] - similarities.of[block][half][v] * scale;
          const bool left_out = MASKED && (mask.self(chunk, block, half, v) || mask.padding(chunk, half, v));
          product[v / 2] *= left_out ? 1.0f : 1.0f + exp2_fast(-fabsf(x));
          sums[block][v / 2] += left_out ? 0.0f : max_keeping_nan(x, 0.0f);
        }
      }
      sums[block][0] += log2_fast(product[0]);
      sums[block][1] += log2_fast(product[1]);
    }
  }
}

// What the slopes of a thread's rows need and make.
template <int BLOCKS>
struct RowSlopes {
  float bias[BLOCKS][2], weight[BLOCKS][2];
  float sum[BLOCKS][2] = {};  // of q_ij over j
};

// Add one key tile's weighted embeddings to the gradients, and its slopes to the sums, of the warp's rows. Every tile
// is masked: three special functions a pair hide two comparisons.
template <int BLOCKS>
__device__ __forceinline__ void add_slopes(WeightedSums<BLOCKS>& gradients, RowSlopes<BLOCKS>& slopes,
                                           const Rows<BLOCKS>& rows, u32 tile, const float* key_values, float scale,
                                           const Mask& mask, const Lane& lane) {
#pragma unroll 1
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    const Similarities<BLOCKS> similarities(rows, tile + chunk * CHUNK_BYTES);
    u32 weights[BLOCKS][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      // bias and weight of this key, bias and weight of the next
      const float4 values = *reinterpret_cast<const float4*>(key_values + 2 * (16 * chunk + 8 * half + lane.key));
#pragma unroll
      for (int block = 0; block < BLOCKS; ++block) {
        float w[4];
#pragma unroll
        for (int v = 0; v < 4; ++v) {
          const float s = similarities.of[block][half][v] * scale, h = slopes.weight[block][v / 2];
          const float of_row = 1.0f + exp2_fast(min_keeping_nan(s - slopes.bias[block][v / 2], STEEPEST));
          const float of_key = 1.0f + exp2_fast(min_keeping_nan(s - (v % 2 ? values.z : values.x), STEEPEST));
          const float both = reciprocal_fast(of_row * of_key);  // q_ij = both * of_key, q_ji = both * of_row
          const bool left_out = mask.self(chunk, block, half, v) || mask.padding(chunk, half, v);
          slopes.sum[block][v / 2] += left_out ? 0.0f : both * of_key;
          w[v] = left_out ? 0.0f : both * (h * of_key + (v % 2 ? values.w : values.y) * of_row);
        }
        weights[block][2 * half] = pack_bf16(w[0], w[1]);
        weights[block][2 * half + 1] = pack_bf16(w[2], w[3]);
      }
    }
    gradients.add(weights, tile + chunk * CHUNK_BYTES);
  }
}

}  // namespace

// keys (rows, DIM); row_bias (rows,) in bits; scale = log2(e) / tau; sums (gridDim.y, rows).
extern "C" __global__ void __launch_bounds__(FORWARD_THREADS, DIM <= 128 ? 3 : 2)
pair_softplus_forward(const bf16* __restrict__ keys, const int* __restrict__ tile_segments,
                      const int* __restrict__ begins, const int* __restrict__ ends,
                      const float* __restrict__ row_bias, float* __restrict__ sums, int segments, float scale) {
  const int segment = tile_segments[blockIdx.x];
  if (segment == segments) return;
  const u32 num_rows = gridDim.x * ROW_TILE;
  const Lane lane;
  const int row = blockIdx.x * ROW_TILE + lane.warp * 16 * FORWARD_BLOCKS;
  const KeyTiles tiles(begins[segment], begins[segment + 1]);
  KeyStream<FORWARD_THREADS, 0> stream(keys, nullptr, tiles);
  const Rows<FORWARD_BLOCKS> rows(keys, row, lane);
  float bias[FORWARD_BLOCKS][2], total[FORWARD_BLOCKS][2] = {};
#pragma unroll
  for (int i = 0; i < 2 * FORWARD_BLOCKS; ++i) bias[i / 2][i % 2] = row_bias[row + 8 * i + lane.row];
  const int end = ends[segment];
  for (int tile = tiles.first; tile < tiles.last; ++tile) {
    stream.await(tile);
    const int key = tile * KEY_TILE;
    const Mask mask(row, key, end, lane);
    if (key + KEY_TILE > end || on_diagonal(row, 16 * FORWARD_BLOCKS, key)) {
      add_softplus<true>(total, rows, stream.address(), bias, scale, mask);
    } else {
      add_softplus<false>(total, rows, stream.address(), bias, scale, mask);
    }
  }
#pragma unroll
  for (int i = 0; i < 2 * FORWARD_BLOCKS; ++i) {
    const float sum = sum_over_row(total[i / 2][i % 2]);
    if (lane.key == 0) sums[blockIdx.y * num_rows + row + 8 * i + lane.row] = sum;
  }
}

// values (rows, 2): bias in bits and h; gradients (gridDim.y, rows, DIM); bias_gradients (gridDim.y, rows).
extern "C" __global__ void __launch_bounds__(BACKWARD_THREADS, DIM <= 128 ? 2 : 1)
pair_softplus_backward(const bf16* __restrict__ keys, const int* __restrict__ tile_segments,
                       const int* __restrict__ begins, const int* __restrict__ ends,
                       const float* __restrict__ values, float* __restrict__ gradients,
                       float* __restrict__ bias_gradients, int segments, float scale) {
  const int segment = tile_segments[blockIdx.x];
  if (segment == segments) return;
  const u32 num_rows = gridDim.x * ROW_TILE;
  const Lane lane;
  const int row = blockIdx.x * ROW_TILE + lane.warp * 16 * BACKWARD_BLOCKS;
  const KeyTiles tiles(begins[segment], begins[segment + 1]);
  KeyStream<BACKWARD_THREADS, 2> stream(keys, values, tiles);
  const Rows<BACKWARD_BLOCKS> rows(keys, row, lane);
  WeightedSums<BACKWARD_BLOCKS> total;
  RowSlopes<BACKWARD_BLOCKS> slopes;
#pragma unroll
  for (int i = 0; i < 2 * BACKWARD_BLOCKS; ++i) {
    const float2 own = *reinterpret_cast<const float2*>(values + 2 * (row + 8 * i + lane.row));
    slopes.bias[i / 2][i % 2] = own.x;
    slopes.weight[i / 2][i % 2] = own.y;
  }
  const int end = ends[segment];
  for (int tile = tiles.first; tile < tiles.last; ++tile) {
    stream.await(tile);
    const int key = tile * KEY_TILE;
    const Mask mask(row, key, end, lane);
    add_slopes(total, slopes, rows, stream.address(), stream.values(), scale, mask, lane);
  }
  total.store(gradients + static_cast<size_t>(blockIdx.y) * num_rows * DIM, row, lane);
#pragma unroll
  for (int i = 0; i < 2 * BACKWARD_BLOCKS; ++i) {
    const float sum = sum_over_row(slopes.sum[i / 2][i % 2]) * slopes.weight[i / 2][i % 2];
    if (lane.key == 0) bias_gradients[blockIdx.y * num_rows + row + 8 * i + lane.row] = sum;
  }
}
