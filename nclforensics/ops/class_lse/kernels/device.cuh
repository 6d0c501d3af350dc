// The hardware instructions the kernels use, one inline function each; nothing else in this folder is device specific.
// NVRTC ships without CUDA's headers, so the bf16 conversions are here too.
//
// The tests run the kernels on a CPU: their emulator defines the guard below and brings its own form of every function.
#ifndef NCLF_DEVICE_CUH
#define NCLF_DEVICE_CUH

typedef unsigned short bf16;  // the bit pattern
typedef unsigned int u32;

// 2^x; a result below 2^-126 is 0. Relative error below 2^-22.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// log2 x. Absolute error below 2^-22 in (1/2, 2), relative error below 2^-22 elsewhere.
__device__ __forceinline__ float log2_fast(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 1 / x, at most 1 unit in the last place off.
__device__ __forceinline__ float reciprocal_fast(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// The smaller of two numbers, and NaN if one is NaN; fminf would drop it.
__device__ __forceinline__ float min_keeping_nan(float x, float y) {
  float z;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
  return z;
}

__device__ __forceinline__ float max_keeping_nan(float x, float y) {
  float z;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
  return z;
}

// Two numbers rounded to nearest even, `low` in the low half.
__device__ __forceinline__ u32 pack_bf16(float low, float high) {
  u32 bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

__device__ __forceinline__ float low_bf16(u32 bits) { return __uint_as_float(bits << 16); }
__device__ __forceinline__ float high_bf16(u32 bits) { return __uint_as_float(bits & 0xffff0000u); }

// c (16 x 8, fp32) += a (16 x 16, bf16) . b (16 x 8, bf16), spread over a warp. In thread t, with r = t / 4 and
// k = 2 (t % 4): c holds rows r, r, r + 8, r + 8 at columns k, k + 1, k, k + 1; a holds the pairs that begin at (r, k),
// (r + 8, k), (r, k + 8), (r + 8, k + 8); b0 and b1 hold rows k, k + 1 and k + 8, k + 9 of column r.
__device__ __forceinline__ void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 bf16 matrices. Thread t gives the address of row t % 8 of matrix t / 8 and gets, of each matrix, row t / 4
// at columns 2 (t % 4) and 2 (t % 4) + 1.
__device__ __forceinline__ void load_matrices(u32 (&m)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address)
               : "memory");
}

// The same of the transposed matrices: column t / 4 at rows 2 (t % 4) and 2 (t % 4) + 1.
__device__ __forceinline__ void load_matrices_transposed(u32 (&m)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address)
               : "memory");
}

// Start to copy 16 bytes to shared memory; both addresses are multiples of 16.
__device__ __forceinline__ void copy_async(u32 to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

// Close the group of copies this thread has started since the last call; a group may be empty.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Wait until at most PENDING groups of this thread are unfinished; other threads see its copies after a barrier.
template <int PENDING>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

__device__ __forceinline__ u32 shared_address(const void* pointer) {
  return static_cast<u32>(__cvta_generic_to_shared(pointer));
}

// The dynamic shared memory of the block.
__device__ __forceinline__ char* dynamic_shared() {
  extern __shared__ __align__(128) char bytes[];
  return bytes;
}

#endif
