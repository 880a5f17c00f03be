// The second half of a transformer block: norm, linear, GELU, linear, and the sum with its input.
// One task is some rows; what lies between its two products never leaves the cache. Tasks share
// nothing. feed_forward.py fills the structure.
#include <algorithm>
#include <vector>

#include "product.h"

namespace {

using V = Vec<float>;
constexpr int N = LANES<float>;
constexpr int64_t ROWS = 120;    // of a task, at most: whole blocks
constexpr int64_t HIDDEN = 256;  // channels between the products at a time: whole panels

struct FeedForward {
  int64_t rows, width, hidden, threads;
  const float* x;                  // (rows, width), adjacent
  const float *first, *second;     // panels of (hidden, width) and of (width, hidden)
  const float *bias, *other_bias;  // (hidden), (width), the former filled up to whole panels
  float* y;                        // as x
};

// x (1 + erf(x / sqrt(2))) / 2. The error function is that of Abramowitz and Stegun, Handbook of
// Mathematical Functions, 1964, 7.1.26 (absolute error 1.5e-7).
V gelu(V x) {
  const V z = x * 0.70710678118654752f, size = z > 0 ? z : -z;
  const V t = 1 / (1 + 0.3275911f * size);
  V p = t * 1.061405429f - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const V rest = p * t * exp_of(-z * z) * 0.5f;  // of the normal distribution beyond |x|
  return x * (z > 0 ? 1 - rest : rest);
}

struct Room {
  std::vector<V> normed, hidden, sum;
  explicit Room(const FeedForward& f)
      : normed(ROWS * f.width / N), hidden(ROWS * HIDDEN / N),
        sum(ROWS * in_panels(f.width) / N) {}
};

void run(const FeedForward& f, int64_t first, int64_t rows, Room& room) {
  float* normed = reinterpret_cast<float*>(room.normed.data());
  float* hidden = reinterpret_cast<float*>(room.hidden.data());
  float* sum = reinterpret_cast<float*>(room.sum.data());
  const int64_t line = in_panels(f.width), all = in_panels(f.hidden);
  const float* x = f.x + first * f.width;
  for (int64_t i = 0; i < rows; ++i)
    normalise(x + i * f.width, f.width, normed + i * f.width);
  for (int64_t h = 0; h < all; h += HIDDEN) {
    const int64_t some = std::min(HIDDEN, all - h), inner = std::min(HIDDEN, f.hidden - h);
    for (int64_t p = 0; p < some; p += PANEL)
      product(normed, f.width, rows, f.first + (h + p) * f.width, f.width, hidden + p, HIDDEN);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t k = 0; k < some; k += N) {
        float* at = hidden + i * HIDDEN + k;
        store(at, gelu(load(at) + load(f.bias + h + k)));
      }
    for (int64_t p = 0; p < line; p += PANEL)
      product(hidden, HIDDEN, rows, f.second + p * f.hidden + h * PANEL, inner, sum + p, line,
              h > 0);
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t k = 0; k < f.width; k += N)
      store(f.y + (first + i) * f.width + k,
            load(x + i * f.width + k) + load(sum + i * line + k) + load(f.other_bias + k));
}

}  // namespace

extern "C" int64_t panel() { return PANEL; }

extern "C" void feed_forward(const FeedForward* given) {
  const FeedForward& f = *given;
  const int64_t size = task_rows(f.rows, f.threads, ROWS);
#pragma omp parallel num_threads(f.threads) if (f.threads > 1)
  {
    Room room(f);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < f.rows; i += size) run(f, i, std::min(size, f.rows - i), room);
  }
}
