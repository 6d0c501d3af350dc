// Between the caller's patches and the sorted, padded rows of the pair kernels. places[i] is the row of patch i, -1 for
// an ignored patch. One warp works on one patch.
#include "device.cuh"

namespace {

__device__ __forceinline__ int patch_of_warp() { return (blockIdx.x * blockDim.x + threadIdx.x) / 32; }

}  // namespace

// packed (rows, width) bf16 = embeddings (patches, dim), filled up with zeros on the right; width is even.
// norms (patches,) = the squared norm of the rounded embedding; 0 for an ignored patch.
extern "C" __global__ void __launch_bounds__(256)
pack_embeddings(const float* __restrict__ embeddings, const int* __restrict__ places, u32* __restrict__ packed,
                float* __restrict__ norms, int patches, int dim, int width) {
  const int patch = patch_of_warp(), lane = threadIdx.x % 32;
  if (patch >= patches) return;
  const int place = places[patch];
  float norm = 0.0f;
  if (place >= 0) {
    const float* from = embeddings + static_cast<size_t>(patch) * dim;
    u32* to = packed + static_cast<size_t>(place) * (width / 2);
    for (int pair = lane; pair < width / 2; pair += 32) {
      const float low = 2 * pair < dim ? from[2 * pair] : 0.0f;
      const float high = 2 * pair + 1 < dim ? from[2 * pair + 1] : 0.0f;
      const u32 bits = pack_bf16(low, high);
      norm += low_bf16(bits) * low_bf16(bits) + high_bf16(bits) * high_bf16(bits);
      to[pair] = bits;
    }
  }
  for (int distance = 16; distance > 0; distance /= 2) norm += __shfl_xor_sync(0xffffffffu, norm, distance);
  if (lane == 0) norms[patch] = norm;
}

// out (patches, dim) = factor * the sum of partials (parts, rows, width) over the parts; 0 for an ignored patch.
extern "C" __global__ void __launch_bounds__(256)
unpack_rows(const float* __restrict__ partials, const int* __restrict__ places, float* __restrict__ out, int patches,
            int dim, int width, int rows, int parts, float factor) {
  const int patch = patch_of_warp();
  if (patch >= patches) return;
  const int place = places[patch];
  for (int column = threadIdx.x % 32; column < dim; column += 32) {
    float sum = 0.0f;
    if (place >= 0) {
      const float* from = partials + static_cast<size_t>(place) * width + column;
      for (int part = 0; part < parts; ++part) sum += from[static_cast<size_t>(part) * rows * width];
    }
    out[static_cast<size_t>(patch) * dim + column] = factor * sum;
  }
}

// packed (columns, rows) or (rows, columns), by the two strides = values (patches, columns).
extern "C" __global__ void __launch_bounds__(256)
pack_values(const float* __restrict__ values, const int* __restrict__ places, float* __restrict__ packed, int patches,
            int columns, int row_stride, int column_stride) {
  const int patch = blockIdx.x * blockDim.x + threadIdx.x;
  if (patch >= patches || places[patch] < 0) return;
  for (int column = 0; column < columns; ++column) {
    packed[places[patch] * row_stride + column * column_stride] = values[patch * columns + column];
  }
}
