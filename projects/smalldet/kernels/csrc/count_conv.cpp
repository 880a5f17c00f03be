// The first convolution of an event camera's network, of small integers most of which are 0: only
// the others are multiplied. One task of the forward pass is one row of the output; one of the
// backward pass, which gives the gradient of the weights, is one channel of the input. Tasks share
// nothing, so the digits do not depend on the number of threads. count_conv.py fills the structure.
#include <algorithm>

#include "vector_math.h"

namespace {

using V = Vec<float>;
constexpr int N = LANES<float>;

// A count is seen by two neighbouring cells of a row of the output, with two taps that depend on
// its place modulo the stride. Both are adjacent here, so a count is one vector times a number.
struct Convolution {
  int64_t batch, channels, height, width;  // of the counts
  int64_t tall, wide, features;            // of the output, with a cell more at both ends of a row
  int64_t kernel, stride, padding, threads;
  const uint8_t* counts;  // (batch, channels, height, width), as all others adjacent
  float* out;             // (batch, tall, wide, features); in the backward pass its gradient
  float* taps;            // (channels, kernel, stride, 2, features); likewise
};

constexpr uint64_t LOW = 0x0101010101010101;  // of all eight bytes

// Which of 64 counts are not 0, the first as the lowest bit.
uint64_t occupied(const uint8_t* counts) {
  uint64_t found = 0;
  for (int i = 0; i < 64; i += 8) {
    uint64_t word;
    std::memcpy(&word, counts + i, 8);
    const uint64_t some = (((word & ~(LOW << 7)) + ~(LOW << 7)) | word) >> 7 & LOW;
    found |= (some * 0x0102040810204080 >> 56) << i;
  }
  return found;
}

uint64_t occupied(const uint8_t* counts, int64_t size) {
  if (size >= 64) return occupied(counts);
  uint8_t part[64] = {};
  std::memcpy(part, counts, size);
  return occupied(part);
}

// Call `use(count, cell, tap)` for the counts of a line that are not 0: where the first of their
// two cells begins in a row, and the first of their taps among those of a row of the kernel.
template <class Use> void for_counts(const Convolution& c, const uint8_t* line, Use use) {
  for (int64_t start = 0; start < c.width; start += 64)
    for (uint64_t left = occupied(line + start, c.width - start); left;
         left &= left - 1) {
      const int64_t at = start + __builtin_ctzll(left);
      const uint32_t place = at + c.padding, stride = c.stride, cell = place / stride;
      use(line[at], cell * c.features, (place - cell * stride) * 2 * c.features);
    }
}

const uint8_t* line_of(const Convolution& c, int64_t image, int64_t channel, int64_t row) {
  return c.counts + ((image * c.channels + channel) * c.height + row) * c.width;
}

// `size` is a multiple of `unit`.
void add(float* to, const float* from, float factor, int64_t size) {
  constexpr int unit = 32;
  const V by = splat(factor);
  for (const float* end = from + size; from < end; from += unit, to += unit) {
    V sum[unit / N];
#pragma GCC unroll 8
    for (int j = 0; j < unit / N; ++j) sum[j] = load(to + j * N) + by * load(from + j * N);
#pragma GCC unroll 8
    for (int j = 0; j < unit / N; ++j) store(to + j * N, sum[j]);
  }
}

void forward(const Convolution& c, int64_t task) {
  const int64_t image = task / c.tall, top = task % c.tall * c.stride - c.padding;
  float* out = c.out + task * c.wide * c.features;
  std::fill(out, out + c.wide * c.features, 0.0f);
  const int64_t line = c.stride * 2 * c.features;
  for (int64_t channel = 0; channel < c.channels; ++channel)
    for (int64_t k = std::max<int64_t>(0, -top); k < std::min(c.kernel, c.height - top); ++k) {
      const float* taps = c.taps + (channel * c.kernel + k) * line;
      for_counts(c, line_of(c, image, channel, top + k), [&](float count, int64_t cell, int64_t tap) {
        add(out + cell, taps + tap, count, 2 * c.features);
      });
    }
}

void backward(const Convolution& c, int64_t channel) {
  const int64_t line = c.stride * 2 * c.features;
  float* grad = c.taps + channel * c.kernel * line;
  std::fill(grad, grad + c.kernel * line, 0.0f);
  for (int64_t image = 0; image < c.batch; ++image)
    for (int64_t task = 0; task < c.tall; ++task) {
      const int64_t top = task * c.stride - c.padding;
      const float* out = c.out + (image * c.tall + task) * c.wide * c.features;
      for (int64_t k = std::max<int64_t>(0, -top); k < std::min(c.kernel, c.height - top); ++k)
        for_counts(c, line_of(c, image, channel, top + k),
                   [&](float count, int64_t cell, int64_t tap) {
                     add(grad + k * line + tap, out + cell, count, 2 * c.features);
                   });
    }
}

template <class Task> void for_all(const Convolution& c, int64_t tasks, Task task) {
#pragma omp parallel for schedule(dynamic) num_threads(c.threads) if (c.threads > 1)
  for (int64_t i = 0; i < tasks; ++i) task(c, i);
}

}  // namespace

extern "C" void convolve(const Convolution* c) { for_all(*c, c->batch * c->tall, forward); }
extern "C" void convolve_backward(const Convolution* c) { for_all(*c, c->channels, backward); }
