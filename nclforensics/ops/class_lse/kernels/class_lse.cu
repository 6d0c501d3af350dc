// Sums of exponentials over all pairs of patches by the role of the partner, and their gradient.
//
// With s_ij = z_i.z_j / tau in bits (times log2 e): forward E[i, c] = sum over partners j of role c of 2^s_ij; backward
// G_i = sum_j W_ij z_j with W_ij = 2^s_ij (A[i, y_j] + A[j, y_i]), A = dloss/dL / E. W is symmetric, so the block that
// owns row i computes all of G_i. No exponent is shifted: the host lets only |s_ij| <= 100 pass, for which no term or
// sum leaves the range of fp32.
#include "pairs.cuh"

namespace {

// Add the exponentials of one key tile to the sums of the warp's rows.
template <bool MASKED, int BLOCKS>
__device__ __forceinline__ void add_exponentials(float (&sums)[BLOCKS][2], const Rows<BLOCKS>& rows, u32 tile,
                                                 float scale, const Mask& mask) {
#pragma unroll(MASKED ? 1 : 2)
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    const Similarities<BLOCKS> similarities(rows, tile + chunk * CHUNK_BYTES);
#pragma unroll
    for (int block = 0; block < BLOCKS; ++block) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int v = 0; v < 4; ++v) {
          const float power = exp2_fast(similarities.of[block][half][v] * scale);
          const bool left_out = MASKED && (mask.self(chunk, block, half, v) || mask.padding(chunk, half, v));
          sums[block][v / 2] += left_out ? 0.0f : power;
        }
      }
    }
  }
}

// Add one key tile's W z_j to the gradients of the warp's rows. Rows of padding need no mask: their z_j is 0.
template <bool MASKED, int BLOCKS>
__device__ __forceinline__ void add_gradients(WeightedSums<BLOCKS>& gradients, const Rows<BLOCKS>& rows, u32 tile,
                                              const float (&row_factors)[BLOCKS][2], const float* key_factors,
                                              float scale, const Mask& mask, const Lane& lane) {
#pragma unroll 1
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    const Similarities<BLOCKS> similarities(rows, tile + chunk * CHUNK_BYTES);
    u32 weights[BLOCKS][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float2 factors = *reinterpret_cast<const float2*>(key_factors + 16 * chunk + 8 * half + lane.key);
#pragma unroll
      for (int block = 0; block < BLOCKS; ++block) {
        float w[4];
#pragma unroll
        for (int v = 0; v < 4; ++v) {
          const float power = exp2_fast(similarities.of[block][half][v] * scale);
          const bool left_out = MASKED && mask.self(chunk, block, half, v);
          w[v] = left_out ? 0.0f : power * (row_factors[block][v / 2] + (v % 2 ? factors.y : factors.x));
        }
        weights[block][2 * half] = pack_bf16(w[0], w[1]);
        weights[block][2 * half + 1] = pack_bf16(w[2], w[3]);
      }
    }
    gradients.add(weights, tile + chunk * CHUNK_BYTES);
  }
}

}  // namespace

// keys (rows, DIM); scale = log2(e) / tau; sums (gridDim.y, rows, 3).
extern "C" __global__ void __launch_bounds__(FORWARD_THREADS, DIM <= 128 ? 3 : 2)
class_lse_forward(const bf16* __restrict__ keys, const int* __restrict__ tile_segments, const int* __restrict__ begins,
                  const int* __restrict__ ends, float* __restrict__ sums, int segments, float scale) {
  const int segment = tile_segments[blockIdx.x];
  if (segment == segments) return;
  const int group = segment - segment % 3;
  const u32 num_rows = gridDim.x * ROW_TILE;
  const Lane lane;
  const int row = blockIdx.x * ROW_TILE + lane.warp * 16 * FORWARD_BLOCKS;
  const KeyTiles tiles(begins[group], begins[group + 3]);
  KeyStream<FORWARD_THREADS, 0> stream(keys, nullptr, tiles);
  const Rows<FORWARD_BLOCKS> rows(keys, row, lane);
  int tile = tiles.first;
#pragma unroll 1
  for (int role = 0; role < 3; ++role) {
    const int end = ends[group + role], stop = min(tiles.last, begins[group + role + 1] / KEY_TILE);
    float total[FORWARD_BLOCKS][2] = {};
    for (; tile < stop; ++tile) {
      stream.await(tile);
      const int key = tile * KEY_TILE;
      const Mask mask(row, key, end, lane);
      if (key + KEY_TILE > end || on_diagonal(row, 16 * FORWARD_BLOCKS, key)) {
        add_exponentials<true>(total, rows, stream.address(), scale, mask);
      } else {
        add_exponentials<false>(total, rows, stream.address(), scale, mask);
      }
    }
#pragma unroll
    for (int i = 0; i < 2 * FORWARD_BLOCKS; ++i) {
      const float sum = sum_over_row(total[i / 2][i % 2]);
      if (lane.key == 0) sums[(static_cast<size_t>(blockIdx.y) * num_rows + row + 8 * i + lane.row) * 3 + role] = sum;
    }
  }
}

// factors A (3, rows), 0 in rows of padding; gradients (gridDim.y, rows, DIM).
extern "C" __global__ void __launch_bounds__(BACKWARD_THREADS, DIM == 64 ? 3 : DIM == 128 ? 2 : 1)
class_lse_backward(const bf16* __restrict__ keys, const int* __restrict__ tile_segments,
                   const int* __restrict__ begins, const float* __restrict__ factors,
                   float* __restrict__ gradients, int segments, float scale) {
  const int segment = tile_segments[blockIdx.x];
  if (segment == segments) return;
  const int own_role = segment % 3, group = segment - own_role;
  const u32 num_rows = gridDim.x * ROW_TILE;
  const Lane lane;
  const int row = blockIdx.x * ROW_TILE + lane.warp * 16 * BACKWARD_BLOCKS;
  const KeyTiles tiles(begins[group], begins[group + 3]);
  KeyStream<BACKWARD_THREADS, 1> stream(keys, factors + own_role * num_rows, tiles);
  const Rows<BACKWARD_BLOCKS> rows(keys, row, lane);
  WeightedSums<BACKWARD_BLOCKS> total;
  int tile = tiles.first;
#pragma unroll 1
  for (int role = 0; role < 3; ++role) {
    const int stop = min(tiles.last, begins[group + role + 1] / KEY_TILE);
    float row_factors[BACKWARD_BLOCKS][2];
#pragma unroll
    for (int i = 0; i < 2 * BACKWARD_BLOCKS; ++i) {
      row_factors[i / 2][i % 2] = factors[role * num_rows + row + 8 * i + lane.row];
    }
    for (; tile < stop; ++tile) {
      stream.await(tile);
      const int key = tile * KEY_TILE;
      const Mask mask(row, key, 0, lane);
      if (on_diagonal(row, 16 * BACKWARD_BLOCKS, key)) {
        add_gradients<true>(total, rows, stream.address(), row_factors, stream.values(), scale, mask, lane);
      } else {
        add_gradients<false>(total, rows, stream.address(), row_factors, stream.values(), scale, mask, lane);
      }
    }
  }
  total.store(gradients + static_cast<size_t>(blockIdx.y) * num_rows * DIM, row, lane);
}
