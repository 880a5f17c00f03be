// 3x3 convolutions with 16 products where the definition has 36, after Lavin and Gray, Fast
// Algorithms for Convolutional Neural Networks, 2016, arXiv 1509.09308, section 4.1: F(2x2, 3x3).
//
// A tile is 2x2 cells of the output; it sees 4x4 cells of the input. One task is some tiles: their
// 16 matrices (tiles, channels) stay in the cache from the input's transformation to the output's.
// Tasks share nothing. winograd.py fills the structure.
#include <algorithm>
#include <vector>

#include "product.h"

namespace {

using V = Vec<float>;
constexpr int N = LANES<float>;
constexpr int64_t TILES = 60 / BLOCK_ROWS * BLOCK_ROWS;  // of a task, at most
constexpr int POINTS = 16;

struct Convolution {
  int64_t batch, height, width, in, out, columns;  // columns: out, filled up to whole panels
  int64_t silu, threads;
  const float* x;       // (batch, height, width, in), adjacent
  const float* panels;  // (16, columns / PANEL, in, PANEL)
  const float* bias;    // (out) or null
  float* y;             // (batch, height, width, out), adjacent
};

// Four numbers become those that the products are made of, and four products two sums.
void before(V* v, int step) {
  const V a = v[0], b = v[step], c = v[2 * step], d = v[3 * step];
  v[0] = a - c, v[step] = b + c, v[2 * step] = c - b, v[3 * step] = b - d;
}

void after(V* v, int step) {
  const V a = v[0], b = v[step], c = v[2 * step], d = v[3 * step];
  v[0] = a + b + c, v[step] = b - c - d;
}

struct Tile {
  int64_t image, y, x;  // its first cell
  Tile(const Convolution& c, int64_t index) {
    const int64_t wide = (c.width + 1) / 2, tall = (c.height + 1) / 2;
    image = index / wide / tall, y = index / wide % tall * 2, x = index % wide * 2;
  }
};

void read_tile(const Convolution& c, const Tile& t, float* to, int64_t apart) {
  const float* from[POINTS];
  for (int i = 0; i < POINTS; ++i) {
    const int64_t y = t.y + i / 4 - 1, x = t.x + i % 4 - 1;
    const bool inside = y >= 0 && y < c.height && x >= 0 && x < c.width;
    from[i] = inside ? c.x + ((t.image * c.height + y) * c.width + x) * c.in : nullptr;
  }
  for (int64_t k = 0; k < c.in; k += N) {
    V v[POINTS];
    for (int i = 0; i < POINTS; ++i) v[i] = from[i] ? load(from[i] + k) : V{};
    for (int i = 0; i < 4; ++i) before(v + i, 4);
    for (int i = 0; i < 4; ++i) before(v + 4 * i, 1);
    for (int i = 0; i < POINTS; ++i) store(to + i * apart + k, v[i]);
  }
}

void write_tile(const Convolution& c, const Tile& t, const float* from, int64_t apart) {
  for (int64_t k = 0; k < c.out; k += N) {
    V v[POINTS];
    for (int i = 0; i < POINTS; ++i) v[i] = load(from + i * apart + k);
    for (int i = 0; i < 4; ++i) after(v + i, 4);
    for (int i = 0; i < 2; ++i) after(v + 4 * i, 1);
    const V bias = c.bias ? load(c.bias + k) : V{};
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j) {
        if (t.y + i >= c.height || t.x + j >= c.width) continue;
        const V sum = v[4 * i + j] + bias;
        store(c.y + ((t.image * c.height + t.y + i) * c.width + t.x + j) * c.out + k,
              c.silu ? sum * sigmoid(sum) : sum);
      }
  }
}

void run(const Convolution& c, int64_t first, int64_t tiles, float* read, float* product_of) {
  const int64_t panels = c.columns / PANEL;
  for (int64_t i = 0; i < tiles; ++i)
    read_tile(c, Tile(c, first + i), read + i * c.in, TILES * c.in);
  for (int64_t p = 0; p < POINTS; ++p)
    for (int64_t j = 0; j < panels; ++j)
      product(read + p * TILES * c.in, c.in, tiles, c.panels + (p * panels + j) * c.in * PANEL,
              c.in, product_of + p * TILES * c.columns + j * PANEL, c.columns);
  for (int64_t i = 0; i < tiles; ++i)
    write_tile(c, Tile(c, first + i), product_of + i * c.columns, TILES * c.columns);
}

}  // namespace

extern "C" int64_t panel() { return PANEL; }

extern "C" void convolve(const Convolution* given) {
  const Convolution& c = *given;
  const int64_t all = c.batch * ((c.height + 1) / 2) * ((c.width + 1) / 2);
  const int64_t size = task_rows(all, c.threads, TILES);
#pragma omp parallel num_threads(c.threads) if (c.threads > 1)
  {
    std::vector<V> read(POINTS * TILES * c.in / N), products(POINTS * TILES * c.columns / N);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < all; i += size)
      run(c, i, std::min(size, all - i), reinterpret_cast<float*>(read.data()),
          reinterpret_cast<float*>(products.data()));
  }
}
