// Two depthwise convolutions along time in one pass over the data, each with bias and SiLU: the
// first sees no later step, the second none before. Inference only; called by causal_conv.py.
#include <algorithm>

#include "vector_math.h"

namespace {

constexpr int64_t STEPS = 32;  // of one task
constexpr int WIDTH = 4;       // of the convolutions
using V = Vec<float>;

struct Convolutions {
  int64_t batch, length, channels, threads;
  const float* x;  // (batch, length, channels), channels adjacent
  int64_t x_batch, x_time;
  const float* weight[2];  // (channels, WIDTH)
  const float* bias[2];    // (channels)
  float* out[2];           // (batch, length, channels), adjacent
};

// One vector of channels of one part of an image. The taps of a step that has all its neighbours
// are a loop of constant length.
void convolve(const Convolutions& c, int64_t image, int64_t start, int64_t first, int64_t lanes) {
  V weight[2][WIDTH];
  const V bias[2] = {load_lanes(c.bias[0] + first, 1, lanes),
                     load_lanes(c.bias[1] + first, 1, lanes)};
  for (int d = 0; d < 2; ++d)
    for (int k = 0; k < WIDTH; ++k)  // of the step k steps away
      weight[d][k] = load_lanes(c.weight[d] + first * WIDTH + WIDTH - 1 - k, WIDTH, lanes);
  const float* x = c.x + image * c.x_batch + first;
  for (int64_t t = start; t < std::min(start + STEPS, c.length); ++t) {
    V sums[2] = {bias[0], bias[1]};
    const bool inside = t >= WIDTH - 1 && t + WIDTH <= c.length;
    for (int k = 0; k < WIDTH; ++k) {
      if (inside || t >= k) sums[0] += weight[0][k] * load_lanes(x + (t - k) * c.x_time, 1, lanes);
      if (inside || t + k < c.length)
        sums[1] += weight[1][k] * load_lanes(x + (t + k) * c.x_time, 1, lanes);
    }
    const int64_t to = (image * c.length + t) * c.channels + first;
    for (int d = 0; d < 2; ++d)
      store_lanes(c.out[d] + to, 1, lanes, sums[d] * sigmoid(sums[d]));
  }
}

void convolve_all(const Convolutions& c) {
  const int64_t parts = (c.length + STEPS - 1) / STEPS, tasks = c.batch * parts;
#pragma omp parallel for schedule(static) num_threads(c.threads) if (c.threads > 1)
  for (int64_t task = 0; task < tasks; ++task)
    for (int64_t first = 0; first < c.channels; first += LANES<float>)
      convolve(c, task / parts, task % parts * STEPS, first,
               std::min<int64_t>(LANES<float>, c.channels - first));
}

}  // namespace

extern "C" void convolve_both_ways(const Convolutions* c) { convolve_all(*c); }
