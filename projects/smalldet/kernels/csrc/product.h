// Products of matrices that fit into the cache, for kernels that do more with them than multiply.
//
// The right one is given in panels, (panels, inner, PANEL): what one step of the innermost loop
// reads stands together, and the last panel is filled up with zeros. product.py makes them.
#pragma once

#include <algorithm>
#include <cmath>

#include "vector_math.h"

constexpr int BLOCK_COLUMNS = 2;                   // vectors of a block; with its rows they fill
constexpr int BLOCK_ROWS = BYTES == 64 ? 12 : 6;   // the registers
constexpr int PANEL = BLOCK_COLUMNS * LANES<float>;

// `columns`, filled up to whole panels.
inline int64_t in_panels(int64_t columns) { return (columns + PANEL - 1) / PANEL * PANEL; }

// R rows and C vectors of columns of c = a b, or of c += a b. The lines of a, b and c are so far
// apart, and the entries of a line of a are `step` apart. (A function of its own, for all
// registers.)
template <int R, int C>
__attribute__((noinline)) void product_block(const float* a, int64_t a_line, int64_t step, const float* b,
                          int64_t b_line, int64_t inner, float* c, int64_t c_line, bool onto) {
  constexpr int N = LANES<float>;
  Vec<float> sum[R][C];
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < C; ++j) sum[i][j] = onto ? load(c + i * c_line + j * N) : Vec<float>{};
  const float* lines[R];
  for (int i = 0; i < R; ++i) lines[i] = a + i * a_line;
  for (int64_t k = 0, at = 0; k < inner; ++k, at += step) {
    Vec<float> right[C];
    for (int j = 0; j < C; ++j) right[j] = load(b + k * b_line + j * N);
    for (int i = 0; i < R; ++i) {
      const Vec<float> left = splat(lines[i][at]);
      for (int j = 0; j < C; ++j) sum[i][j] += left * right[j];
    }
  }
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < C; ++j) store(c + i * c_line + j * N, sum[i][j]);
}

// All rows of the same.
template <int C>
inline void product_columns(const float* a, int64_t a_line, int64_t step, int64_t rows,
                            const float* b, int64_t b_line, int64_t inner, float* c,
                            int64_t c_line, bool onto) {
  int64_t i = 0;
  for (; i + BLOCK_ROWS <= rows; i += BLOCK_ROWS)
    product_block<BLOCK_ROWS, C>(a + i * a_line, a_line, step, b, b_line, inner, c + i * c_line,
                                 c_line, onto);
  for (; i + 2 <= rows; i += 2)
    product_block<2, C>(a + i * a_line, a_line, step, b, b_line, inner, c + i * c_line, c_line,
                        onto);
  for (; i < rows; ++i)
    product_block<1, C>(a + i * a_line, a_line, step, b, b_line, inner, c + i * c_line, c_line,
                        onto);
}

// Rows of a task: whole blocks, so many that each thread has some, and `most` at most.
inline int64_t task_rows(int64_t rows, int64_t threads, int64_t most) {
  const int64_t share = (rows + threads - 1) / threads;
  return std::min(most, (share + BLOCK_ROWS - 1) / BLOCK_ROWS * BLOCK_ROWS);
}

// One panel's columns of c = a b, or of c += a b.
inline void product(const float* a, int64_t a_line, int64_t rows, const float* panel,
                    int64_t inner, float* c, int64_t c_line, bool onto = false) {
  product_columns<BLOCK_COLUMNS>(a, a_line, 1, rows, panel, PANEL, inner, c, c_line, onto);
}

inline float sum_of(Vec<float> v) {
  float sum = 0;
  for (int i = 0; i < LANES<float>; ++i) sum += v[i];
  return sum;
}

constexpr float EPS = 1e-5f;  // that of nn.LayerNorm

// `size` numbers, whole vectors, less their mean and over their standard deviation.
inline void normalise(const float* from, int64_t size, float* to) {
  constexpr int N = LANES<float>;
  Vec<float> sum{}, squares{};
  for (int64_t i = 0; i < size; i += N) sum += load(from + i);
  const float mean = sum_of(sum) / size;
  for (int64_t i = 0; i < size; i += N) {
    const Vec<float> rest = load(from + i) - mean;
    squares += rest * rest;
  }
  const float scale = 1 / std::sqrt(sum_of(squares) / size + EPS);
  for (int64_t i = 0; i < size; i += N) store(to + i, (load(from + i) - mean) * scale);
}
