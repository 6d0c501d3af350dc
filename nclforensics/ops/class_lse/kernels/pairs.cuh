// What the pair kernels share: the stream of key tiles through shared memory, and the two products of a warp,
// similarities S = Z Z^T and sums W Z. README.md beside this folder draws the tiles.
//
// Compile-time constants: DIM, ROW_TILE, KEY_TILE, STAGES, FORWARD_BLOCKS, BACKWARD_BLOCKS (see modules.py).
#include "device.cuh"

static_assert(DIM % 64 == 0, "the swizzle permutes the eight 16-byte pieces of 128 bytes");
static_assert(KEY_TILE % 16 == 0 && ROW_TILE % KEY_TILE == 0, "a key tile lies in the run of one role");
static_assert(STAGES >= 2, "one tile in use, at least one on its way");

constexpr int STEPS = DIM / 16;        // steps of 16 along an embedding
constexpr int CHUNKS = KEY_TILE / 16;  // chunks of 16 keys in a tile
constexpr int KEY_BYTES = 2 * DIM;
constexpr int CHUNK_BYTES = 16 * KEY_BYTES;
constexpr int FORWARD_THREADS = ROW_TILE / (16 * FORWARD_BLOCKS) * 32;
constexpr int BACKWARD_THREADS = ROW_TILE / (16 * BACKWARD_BLOCKS) * 32;

// The patches are sorted by group and role and padded: a segment is the run of one role of one group, begins at a
// multiple of ROW_TILE and ends with rows of zeros. tile_segments names the segment of every row tile, `segments` for a
// tile beyond the last; begins[s] is the first row of segment s, begins[segments] the number of rows in use; ends[s] is
// the row behind the last patch of segment s.

// The part of key tiles [first, last) that belongs to this block: blockIdx.y of gridDim.y near-equal parts.
struct KeyTiles {
  int first, last;

  __device__ KeyTiles(int begin, int end) {
    const int start = begin / KEY_TILE, count = end / KEY_TILE - start;
    first = start + count * static_cast<int>(blockIdx.y) / static_cast<int>(gridDim.y);
    last = start + count * static_cast<int>(blockIdx.y + 1) / static_cast<int>(gridDim.y);
  }
};

// Brings one key tile after the other to shared memory, with VALUES float values for every key. The 16-byte piece p of
// key k is stored at piece p ^ (k % 8): eight keys at one piece then lie in different banks, for ldmatrix and its
// transposed form alike, and so do eight pieces of one key, for the copies.
template <int THREADS, int VALUES>
class KeyStream {
 public:
  __device__ KeyStream(const bf16* keys, const float* values, KeyTiles tiles)
      : keys_(keys), values_(values), last_(tiles.last) {
    for (int stage = 0; stage < STAGES - 1; ++stage) fetch(tiles.first + stage);
  }

  // Wait for `tile` and start to fetch the one STAGES - 1 further on. Called for every tile in turn by all threads.
  // One barrier serves both directions: after it all copies of `tile` are visible, and no warp reads the tile before it
  // any more, whose place the fetch overwrites.
  __device__ void await(int tile) {
    wait_copies<STAGES - 2>();
    __syncthreads();
    fetch(tile + STAGES - 1);
    current_ = place(tile);
  }

  __device__ u32 address() const { return shared_address(current_); }

  // Values of the keys of the tile, VALUES for every key.
  __device__ const float* values() const { return reinterpret_cast<const float*>(current_ + KEY_TILE * KEY_BYTES); }

 private:
  static constexpr int STAGE_BYTES = KEY_TILE * (KEY_BYTES + 4 * VALUES);
  static constexpr int PIECES = DIM / 8;
  static constexpr int VALUE_PIECES = KEY_TILE * VALUES / 4;
  static_assert(KEY_TILE * PIECES % THREADS == 0, "every thread copies the same number of pieces");
  static_assert(VALUE_PIECES <= THREADS, "one value piece a thread");
  static_assert(STAGE_BYTES % 128 == 0, "the swizzle acts on addresses");

  __device__ char* place(int tile) const { return dynamic_shared() + static_cast<u32>(tile) % STAGES * STAGE_BYTES; }

  __device__ void fetch(int tile) {
    if (tile < last_) {
      const u32 to = shared_address(place(tile)), piece = threadIdx.x % PIECES;
      const bf16* from = keys_ + static_cast<size_t>(tile) * KEY_TILE * DIM + threadIdx.x * 8;
#pragma unroll
      for (u32 n = 0; n < KEY_TILE * PIECES / THREADS; ++n) {
        const u32 key = n * (THREADS / PIECES) + threadIdx.x / PIECES;
        copy_async(to + key * KEY_BYTES + (piece ^ key % 8) * 16, from + n * THREADS * 8);
      }
      if (static_cast<int>(threadIdx.x) < VALUE_PIECES) {
        const float* values = values_ + tile * KEY_TILE * VALUES + threadIdx.x * 4;
        copy_async(to + KEY_TILE * KEY_BYTES + threadIdx.x * 16, values);
      }
    }
    commit_copies();
  }

  const bf16* keys_;
  const float* values_;
  int last_;
  const char* current_ = nullptr;
};

// Which rows and keys a thread holds: value v of the result of a 16 x 8 product is row 8 (v / 2) + lane / 4, key
// 2 (lane % 4) + v % 2.
struct Lane {
  int warp, row, key;  // row and key of value 0

  __device__ Lane() : warp(threadIdx.x / 32), row(threadIdx.x % 32 / 4), key(threadIdx.x % 4 * 2) {}
};

// The address a thread names to ldmatrix to get 16 keys at the two neighbouring pieces of a step. The two products want
// the four 8 x 8 matrices in different orders, so that the operands of one mma come in neighbouring registers.
struct Fragment {
  u32 first;  // address at step 0

  // (keys 0-7, piece 0), (keys 0-7, piece 1), (keys 8-15, piece 0), (keys 8-15, piece 1)
  static __device__ Fragment by_key(u32 chunk) {
    const u32 lane = threadIdx.x % 32;
    return {chunk + (lane % 8 + lane / 16 * 8) * KEY_BYTES + (lane / 8 % 2 ^ lane % 8) * 16};
  }

  // (keys 0-7, piece 0), (keys 8-15, piece 0), (keys 0-7, piece 1), (keys 8-15, piece 1)
  static __device__ Fragment by_piece(u32 chunk) {
    const u32 lane = threadIdx.x % 32;
    return {chunk + lane % 16 * KEY_BYTES + (lane / 16 ^ lane % 8) * 16};
  }

  // Keys begin at multiples of 128 bytes, so that the exclusive or of the swizzle may act on the whole address.
  __device__ u32 at(int step) const { return (first ^ step % 4 * 32) + step / 4 * 128; }
};

// Embeddings of BLOCKS x 16 rows as left operands, from row `first` on.
template <int BLOCKS>
struct Rows {
  u32 pieces[BLOCKS][STEPS][4];

  __device__ Rows(const bf16* keys, int first, const Lane& lane) {
#pragma unroll
    for (int block = 0; block < BLOCKS; ++block) {
      const bf16* row = keys + static_cast<size_t>(first + 16 * block + lane.row) * DIM + lane.key;
#pragma unroll
      for (int step = 0; step < STEPS; ++step) {
        pieces[block][step][0] = *reinterpret_cast<const u32*>(row + 16 * step);
        pieces[block][step][1] = *reinterpret_cast<const u32*>(row + 16 * step + 8 * DIM);
        pieces[block][step][2] = *reinterpret_cast<const u32*>(row + 16 * step + 8);
        pieces[block][step][3] = *reinterpret_cast<const u32*>(row + 16 * step + 8 * DIM + 8);
      }
    }
  }
};

// Similarities of BLOCKS x 16 rows with 16 keys: [block][keys 0-7 or 8-15][value].
template <int BLOCKS>
struct Similarities {
  float of[BLOCKS][2][4];

  __device__ Similarities(const Rows<BLOCKS>& rows, u32 chunk) : of{} {
    const Fragment fragment = Fragment::by_key(chunk);
#pragma unroll
    for (int step = 0; step < STEPS; ++step) {
      u32 keys[4];
      load_matrices(keys, fragment.at(step));
#pragma unroll
      for (int block = 0; block < BLOCKS; ++block) {
        multiply_add(of[block][0], rows.pieces[block][step], keys[0], keys[1]);
        multiply_add(of[block][1], rows.pieces[block][step], keys[2], keys[3]);
      }
    }
  }
};

// sum_j w_ij z_j for BLOCKS x 16 rows. The weights of 16 rows with 16 keys are the values of two similarity products,
// which is just the layout of a left operand: weights[block][2 half + v / 2] packs values v and v + 1 of keys `half`.
template <int BLOCKS>
struct WeightedSums {
  float of[BLOCKS][2 * STEPS][4];

  __device__ WeightedSums() : of{} {}

  __device__ void add(const u32 (&weights)[BLOCKS][4], u32 chunk) {
    const Fragment fragment = Fragment::by_piece(chunk);
#pragma unroll
    for (int step = 0; step < STEPS; ++step) {
      u32 keys[4];
      load_matrices_transposed(keys, fragment.at(step));
#pragma unroll
      for (int block = 0; block < BLOCKS; ++block) {
        multiply_add(of[block][2 * step], weights[block], keys[0], keys[1]);
        multiply_add(of[block][2 * step + 1], weights[block], keys[2], keys[3]);
      }
    }
  }

  // Write to rows `first` onwards of a (rows, DIM) matrix; the four threads of a row fill whole 32-byte sectors.
  __device__ void store(float* matrix, int first, const Lane& lane) const {
#pragma unroll
    for (int block = 0; block < BLOCKS; ++block) {
#pragma unroll
      for (int column = 0; column < 2 * STEPS; ++column) {
        float* to = matrix + static_cast<size_t>(first + 16 * block + lane.row) * DIM + 8 * column + lane.key;
        const float(&value)[4] = of[block][column];
        *reinterpret_cast<float2*>(to) = make_float2(value[0], value[1]);
        *reinterpret_cast<float2*>(to + 8 * DIM) = make_float2(value[2], value[3]);
      }
    }
  }
};

// Which pairs of a thread are left out: a patch with itself, and keys of padding.
struct Mask {
  int diagonal, end;  // of value 0: key - row at which row and key are the same patch; keys before the segment's end

  __device__ Mask(int row, int key, int segment_end, const Lane& lane)
      : diagonal(row + lane.row - key - lane.key), end(segment_end - key - lane.key) {}

  __device__ bool self(int chunk, int block, int half, int v) const {
    return 16 * chunk + 8 * half + v % 2 - 16 * block - 8 * (v / 2) == diagonal;
  }

  __device__ bool padding(int chunk, int half, int v) const { return 16 * chunk + 8 * half + v % 2 >= end; }
};

// Sum over the four threads that hold a row.
__device__ __forceinline__ float sum_over_row(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// Whether a warp's rows [row, row + rows) meet the keys [key, key + KEY_TILE): then a patch meets itself.
__device__ __forceinline__ bool on_diagonal(int row, int rows, int key) {
  return key < row + rows && row < key + KEY_TILE;
}
