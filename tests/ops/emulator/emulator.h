// Runs CUDA kernels on a CPU, so that a machine without a GPU checks the very source that runs on one.
//
// A thread of a block is a fiber. What the kernels use of the hardware (their device.cuh) is defined here anew:
//   - mma, ldmatrix and shuffles wait for all 32 threads of the warp, then work on the real fragments;
//   - __syncthreads waits for the block;
//   - a cp.async copy happens, by chance, at once or as late as the wait for it allows.
// The scheduler is adversarial: it runs one warp, chosen by chance, until it can go no further, then another. A missing
// barrier or wait therefore shows in the results, which differ from seed to seed. Shared memory starts out as NaN.
//
// Refused: ldmatrix and cp.async out of bounds or misaligned, bank conflicts of ldmatrix, warps that diverge at an
// operation. Not shown: speed, limits of registers, and plain loads and stores out of bounds.
#pragma once
#define NCLF_DEVICE_CUH  // the guard of device.cuh

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)

using bf16 = unsigned short;
using u32 = unsigned int;
using std::min;
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct Index { unsigned x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;
static float2 make_float2(float x, float y) { return {x, y}; }

namespace emulator {

constexpr int WARP = 32;
constexpr unsigned SHARED_BYTES = 100 * 1024;
constexpr size_t STACK_BYTES = 64 * 1024;

struct Copy { u32 to; const void* from; };

struct Thread {
  ucontext_t start;
  jmp_buf here;
  std::vector<char> stack = std::vector<char>(STACK_BYTES);
  bool started, done, at_barrier;
  std::vector<std::vector<Copy>> copies;  // groups that are not finished; the last one is open
};

struct Warp {
  int arrived = 0;
  unsigned long generation = 0;
  const char* operation = nullptr;
  // What the threads bring to an operation, and where they want its results.
  float* c[WARP];
  const u32* a[WARP];
  u32 b[WARP][2];
  u32 address[WARP];
  u32* matrices[WARP];
  float shuffled[WARP];
};

static std::vector<Thread> threads;
static std::vector<Warp> warps;
static jmp_buf scheduler;
static int barrier_arrived, alive;
static unsigned long progress, random_state;
static std::string error;
alignas(128) static char shared[SHARED_BYTES];
static unsigned shared_bytes;
static void (*run_thread)();
static std::vector<std::pair<const char*, size_t>> tensors;

static unsigned random_number() {
  random_state = random_state * 6364136223846793005ul + 1442695040888963407ul;
  return static_cast<unsigned>(random_state >> 33);
}

static Thread& thread() { return threads[threadIdx.x]; }
static Warp& warp() { return warps[threadIdx.x / WARP]; }

// Back to the scheduler; returns when it resumes this thread.
static void suspend() {
  if (_setjmp(thread().here) == 0) _longjmp(scheduler, 1);
}

[[noreturn]] static void fail(const std::string& what) {
  if (error.empty()) {
    error = what + " (block " + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ", thread " +
            std::to_string(threadIdx.x) + ")";
  }
  _longjmp(scheduler, 1);
}

static void enter() {
  run_thread();
  thread().done = true;
  --alive;
  ++progress;
  _longjmp(scheduler, 1);
}

static void resume(unsigned index) {
  threadIdx.x = index;
  if (_setjmp(scheduler) != 0) return;
  if (thread().started) _longjmp(thread().here, 1);
  thread().started = true;
  setcontext(&thread().start);
}

// Wait for the other threads of the warp; the last one does the work for all.
template <class Work>
void together(const char* operation, Work work) {
  Warp& w = warp();
  const unsigned long generation = w.generation;
  if (w.arrived > 0 && w.operation != operation) fail(std::string("a warp is at ") + w.operation + " and " + operation);
  w.operation = operation;
  if (++w.arrived < WARP) {
    while (w.generation == generation) suspend();
    return;
  }
  work(w);
  w.arrived = 0;
  ++w.generation;
  ++progress;
}

static char* at(u32 address, unsigned bytes, unsigned alignment) {
  if (address % alignment != 0 || address + bytes > shared_bytes) fail("bad shared address " + std::to_string(address));
  return shared + address;
}

static void perform(const Copy& copy) {
  const char* from = static_cast<const char*>(copy.from);
  const bool inside = std::any_of(tensors.begin(), tensors.end(), [&](const auto& tensor) {
    return from >= tensor.first && from + 16 <= tensor.first + tensor.second;
  });
  if (!inside || reinterpret_cast<uintptr_t>(from) % 16 != 0) fail("cp.async reads from a bad global address");
  std::memcpy(at(copy.to, 16, 16), from, 16);
}

static float value_of(bf16 bits) {
  const u32 wide = static_cast<u32>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

static bf16 rounded(float value) {
  if (std::isnan(value)) return 0x7fff;
  u32 bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void multiply_fragments(Warp& w) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < WARP; ++lane) {
    const int row = lane / 4, column = lane % 4 * 2;
    for (int i = 0; i < 2; ++i) {
      const auto half = [i](u32 pair) { return value_of(static_cast<bf16>(pair >> 16 * i)); };
      a[row][column + i] = half(w.a[lane][0]);
      a[row + 8][column + i] = half(w.a[lane][1]);
      a[row][column + 8 + i] = half(w.a[lane][2]);
      a[row + 8][column + 8 + i] = half(w.a[lane][3]);
      b[column + i][row] = half(w.b[lane][0]);
      b[column + 8 + i][row] = half(w.b[lane][1]);
    }
  }
  for (int lane = 0; lane < WARP; ++lane) {
    for (int v = 0; v < 4; ++v) {
      const int row = lane / 4 + v / 2 * 8, column = lane % 4 * 2 + v % 2;
      float sum = w.c[lane][v];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      w.c[lane][v] = sum;
    }
  }
}

static void load_fragments(Warp& w, bool transposed) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    bf16 m[8][8];
    unsigned banks = 0;
    for (int row = 0; row < 8; ++row) {
      const u32 address = w.address[8 * matrix + row];
      std::memcpy(m[row], at(address, 16, 16), 16);
      banks |= 1u << address / 16 % 8;
    }
    // Not wrong, but half the speed or less: rows of a matrix come out of the same four banks.
    if (banks != 0xff) fail("ldmatrix has a bank conflict");
    for (int lane = 0; lane < WARP; ++lane) {
      const int i = lane / 4, j = lane % 4 * 2;
      const bf16 low = transposed ? m[j][i] : m[i][j], high = transposed ? m[j + 1][i] : m[i][j + 1];
      w.matrices[lane][matrix] = low | static_cast<u32>(high) << 16;
    }
  }
}

static void load_fragments_together(u32 (&m)[4], u32 address, bool transposed) {
  warp().matrices[threadIdx.x % WARP] = m;
  warp().address[threadIdx.x % WARP] = address;
  together(transposed ? "ldmatrix.trans" : "ldmatrix", [transposed](Warp& w) { load_fragments(w, transposed); });
}

// Run the threads of a warp in turn until each is done or at the barrier.
static void run_warp(int index) {
  unsigned long before;
  do {
    before = progress;
    for (int t = index * WARP; t < (index + 1) * WARP && error.empty(); ++t) {
      if (!threads[t].done && !threads[t].at_barrier) resume(t);
    }
  } while (progress != before && error.empty());
  for (int t = index * WARP; t < (index + 1) * WARP; ++t) {
    if (!threads[t].done && !threads[t].at_barrier && error.empty()) error = "threads of a warp wait for each other";
  }
}

static bool can_run(int index) {
  return std::any_of(threads.begin() + index * WARP, threads.begin() + (index + 1) * WARP,
                     [](const Thread& t) { return !t.done && !t.at_barrier; });
}

static void run_block() {
  std::memset(shared, 0xff, sizeof shared);
  barrier_arrived = 0;
  alive = static_cast<int>(threads.size());
  warps.assign(threads.size() / WARP, Warp());
  for (Thread& t : threads) {
    t.started = t.done = t.at_barrier = false;
    t.copies.assign(1, {});
    getcontext(&t.start);
    t.start.uc_stack.ss_sp = t.stack.data();
    t.start.uc_stack.ss_size = t.stack.size();
    t.start.uc_link = nullptr;
    makecontext(&t.start, enter, 0);
  }
  while (alive > 0 && error.empty()) {
    std::vector<int> ready;
    for (int index = 0; index < static_cast<int>(warps.size()); ++index) {
      if (can_run(index)) ready.push_back(index);
    }
    if (ready.empty()) {
      error = "some threads wait at a barrier that others have passed by";
    } else {
      run_warp(ready[random_number() % ready.size()]);
    }
  }
}

// The kind of an argument: i int, f float, I int*, F float*, H pointer to bf16.
template <class T>
constexpr char kind_of() {
  using Value = std::remove_cv_t<std::remove_pointer_t<T>>;
  if constexpr (!std::is_pointer_v<T>) {
    static_assert(std::is_same_v<T, int> || std::is_same_v<T, float>, "kernels take pointers, int and float");
    return std::is_same_v<T, int> ? 'i' : 'f';
  } else {
    return std::is_same_v<Value, int> ? 'I' : std::is_same_v<Value, float> ? 'F' : 'H';
  }
}

// One kernel with one set of arguments; static, because a fiber starts in a function without parameters.
template <auto kernel>
struct Call;

template <class... Parameters, void (*kernel)(Parameters...)>
struct Call<kernel> {
  inline static void** arguments;

  static std::string kinds() { return {kind_of<Parameters>()...}; }
  static void run() { run_indexed(std::index_sequence_for<Parameters...>()); }

  template <size_t... index>
  static void run_indexed(std::index_sequence<index...>) {
    kernel(*static_cast<Parameters*>(arguments[index])...);
  }
};

// What the host passes; the Python side has the same structure.
struct Launch {
  unsigned grid[3];
  unsigned block, shared_bytes, seed;
  const char* kinds;
  void** arguments;
  unsigned num_tensors;
  const void** tensor_starts;
  const size_t* tensor_bytes;
};

// Run all blocks; returns what went wrong, or "".
template <auto kernel>
const char* run(const Launch& launch) {
  error.clear();
  const std::string expected = Call<kernel>::kinds();
  if (expected != launch.kinds) error = "the kernel takes " + expected + ", not " + launch.kinds;
  if (launch.block % WARP != 0 || launch.shared_bytes > SHARED_BYTES) error = "bad launch";
  Call<kernel>::arguments = launch.arguments;
  run_thread = Call<kernel>::run;
  shared_bytes = launch.shared_bytes;
  random_state = launch.seed;
  tensors.clear();
  for (unsigned i = 0; i < launch.num_tensors; ++i) {
    tensors.emplace_back(static_cast<const char*>(launch.tensor_starts[i]), launch.tensor_bytes[i]);
  }
  gridDim = {launch.grid[0], launch.grid[1], launch.grid[2]};
  blockDim = {launch.block, 1, 1};
  threads.resize(launch.block);
  for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y) {
    for (blockIdx.x = 0; blockIdx.x < gridDim.x && error.empty(); ++blockIdx.x) run_block();
  }
  return error.c_str();
}

}  // namespace emulator

#define EMULATE(kernel) \
  extern "C" const char* emulate_##kernel(const emulator::Launch* launch) { return emulator::run<kernel>(*launch); }

static void __syncthreads() {
  using namespace emulator;
  ++progress;
  if (++barrier_arrived < alive) {
    thread().at_barrier = true;
    suspend();
    return;
  }
  barrier_arrived = 0;
  for (Thread& t : threads) t.at_barrier = false;
}

static float __shfl_xor_sync(u32, float value, int distance) {
  const int lane = threadIdx.x % emulator::WARP;
  emulator::warp().shuffled[lane] = value;
  // Two meetings: nobody may bring the next value before all have read this one.
  emulator::together("shuffle", [](emulator::Warp&) {});
  const float other = emulator::warp().shuffled[lane ^ distance];
  emulator::together("shuffle read", [](emulator::Warp&) {});
  return other;
}

static void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  const int lane = threadIdx.x % emulator::WARP;
  emulator::Warp& w = emulator::warp();
  w.c[lane] = c;
  w.a[lane] = a;
  w.b[lane][0] = b0;
  w.b[lane][1] = b1;
  emulator::together("mma", emulator::multiply_fragments);
}

static void load_matrices(u32 (&m)[4], u32 address) { emulator::load_fragments_together(m, address, false); }
static void load_matrices_transposed(u32 (&m)[4], u32 address) { emulator::load_fragments_together(m, address, true); }

static void copy_async(u32 to, const void* from) {
  if (emulator::random_number() % 2 == 0) {
    emulator::perform({to, from});
  } else {
    emulator::thread().copies.back().push_back({to, from});
  }
}

static void commit_copies() { emulator::thread().copies.emplace_back(); }

template <int PENDING>
void wait_copies() {
  auto& groups = emulator::thread().copies;
  while (groups.size() > PENDING + 1) {
    for (const emulator::Copy& copy : groups.front()) emulator::perform(copy);
    groups.erase(groups.begin());
  }
}

static u32 shared_address(const void* pointer) {
  return static_cast<u32>(static_cast<const char*>(pointer) - emulator::shared);
}
static char* dynamic_shared() { return emulator::shared; }

static float exp2_fast(float x) { return x < -126 ? 0.0f : std::exp2(x); }
static float log2_fast(float x) { return std::log2(x); }
static float reciprocal_fast(float x) { return 1.0f / x; }
static float min_keeping_nan(float x, float y) { return std::isnan(x) || std::isnan(y) ? NAN : std::fmin(x, y); }
static float max_keeping_nan(float x, float y) { return std::isnan(x) || std::isnan(y) ? NAN : std::fmax(x, y); }
static u32 pack_bf16(float low, float high) {
  return emulator::rounded(low) | static_cast<u32>(emulator::rounded(high)) << 16;
}
static float low_bf16(u32 bits) { return emulator::value_of(static_cast<bf16>(bits)); }
static float high_bf16(u32 bits) { return emulator::value_of(static_cast<bf16>(bits >> 16)); }
