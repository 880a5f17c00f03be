// Attention inside the windows, or across the grids, of a feature map, which is read and written in
// place: no copies by group. One task is one head of one group; its scores fit into the cache.
// Tasks share nothing, so the result does not depend on the number of threads. The backward pass
// computes the scores again. group_attention.py fills the structure.
#include <algorithm>
#include <cmath>
#include <vector>

#include "product.h"

namespace {

using V = Vec<float>;
constexpr int N = LANES<float>;

struct Attention {
  int64_t batch, height, width, heads, dim;    // of the map; channels are heads * dim
  int64_t rows, columns, grid, threads;        // of a group
  const float* qkv;    // (batch, height, width, heads, 3, dim), adjacent
  float* out;          // (batch, height, width, heads, dim)
  const float* grad_out;  // as out
  float* grad_qkv;        // as qkv
};

int64_t round_up(int64_t n) { return (n + N - 1) / N * N; }

// A matrix of whole vectors, in rows; what lies beyond its real size is 0.
struct Matrix {
  int64_t rows, columns;
  std::vector<V> data;
  Matrix(int64_t r, int64_t c) : rows(r), columns(c), data(r * c / N, V{}) {}
  float* row(int64_t i) { return reinterpret_cast<float*>(data.data()) + i * columns; }
};

// `columns` columns, whole vectors, of c = a b; see product_block.
void multiply(const float* a, int64_t a_line, int64_t step, int64_t rows, const float* b,
              int64_t b_line, int64_t columns, int64_t inner, float* c, int64_t c_line) {
  int64_t j = 0;
  for (; j + PANEL <= columns; j += PANEL)
    product_columns<BLOCK_COLUMNS>(a, a_line, step, rows, b + j, b_line, inner, c + j, c_line,
                                   false);
  for (; j < columns; j += N)
    product_columns<1>(a, a_line, step, rows, b + j, b_line, inner, c + j, c_line, false);
}

// The first `rows` rows of c = a b, or of aᵀ b; `inner` entries of each sum are real.
void multiply(Matrix& a, bool turned, Matrix& b, int64_t rows, int64_t inner, Matrix& c) {
  const int64_t line = turned ? 1 : a.columns, step = turned ? a.columns : 1;
  multiply(a.row(0), line, step, rows, b.row(0), b.columns, c.columns, inner, c.row(0), c.columns);
}

// The lines of `from` are so far apart; it has as many as `to` has columns.
void turn(const float* from, int64_t line, Matrix& to) {
  for (int64_t i = 0; i < to.columns; i += N)
    for (int64_t j = 0; j < to.rows; j += N) {
      V square[N];
      for (int k = 0; k < N; ++k) square[k] = load(from + (i + k) * line + j);
      transpose<float>(square);
      for (int k = 0; k < N; ++k) store(to.row(j + k) + i, square[k]);
    }
}

// Columns of scores, times `scale`, become probabilities of `keys` keys.
void softmax(Matrix& scores, int64_t keys, float scale) {
  const float power = scale * (float)LOG2_E;
  for (int64_t j = 0; j < scores.columns; j += N) {
    V top = load(scores.row(0) + j), total{};
    for (int64_t i = 1; i < keys; ++i) top = larger(load(scores.row(i) + j), top);
    for (int64_t i = 0; i < keys; ++i) {
      const V e = exp2_of((load(scores.row(i) + j) - top) * power);
      store(scores.row(i) + j, e);
      total += e;
    }
    const V share = 1 / total;
    for (int64_t i = 0; i < keys; ++i)
      store(scores.row(i) + j, load(scores.row(i) + j) * share);
  }
}

// Gradients of probabilities become gradients of the products before the softmax.
void softmax_backward(Matrix& probabilities, Matrix& grad, int64_t keys, float scale) {
  for (int64_t j = 0; j < grad.columns; j += N) {
    V mean{};
    for (int64_t i = 0; i < keys; ++i)
      mean += load(probabilities.row(i) + j) * load(grad.row(i) + j);
    for (int64_t i = 0; i < keys; ++i) {
      float* g = grad.row(i) + j;
      store(g, load(probabilities.row(i) + j) * (load(g) - mean) * scale);
    }
  }
}

// Room for one task. Scores and probabilities have a row for each key.
struct Room {
  int64_t tokens, dim;
  float scale;
  Matrix query, key, value, queries_turned, scores, out;
  Matrix grad_out, grad_out_turned, grad_scores;
  Room(const Attention& a, bool backward)
      : tokens(a.rows * a.columns), dim(a.dim), scale(1 / std::sqrt((float)a.dim)),
        query(round_up(tokens), round_up(dim)), key(query), value(query),
        queries_turned(query.columns, query.rows), scores(query.rows, query.rows), out(query),
        grad_out(backward ? query : Matrix(0, 0)),
        grad_out_turned(backward ? queries_turned : Matrix(0, 0)),
        grad_scores(backward ? scores : Matrix(0, 0)) {}
};

// Where the tokens of a group lie: the number of the first, and how far apart rows and columns are.
struct Group {
  int64_t first, down, across, columns;
  Group(const Attention& a, int64_t index) {
    const int64_t tall = a.height / a.rows, wide = a.width / a.columns;  // groups each way
    const int64_t x = index % wide, y = index / wide % tall, image = index / wide / tall;
    columns = a.columns;
    down = (a.grid ? tall : 1) * a.width;
    across = a.grid ? wide : 1;
    first = (image * a.height + y * (a.grid ? 1 : a.rows)) * a.width + x * (a.grid ? 1 : columns);
  }
  int64_t operator[](int64_t token) const {
    return first + token / columns * down + token % columns * across;
  }
};

// Copy `dim` numbers of every token of a group, which has `stride` numbers a token in memory.
void gather(const float* map, int64_t stride, const Group& group, int64_t tokens, int64_t dim,
            Matrix& to) {
  for (int64_t t = 0; t < tokens; ++t)
    std::memcpy(to.row(t), map + group[t] * stride, dim * sizeof(float));
}

void scatter(Matrix& from, const Group& group, int64_t tokens, int64_t dim, int64_t stride,
             float* map) {
  for (int64_t t = 0; t < tokens; ++t)
    std::memcpy(map + group[t] * stride, from.row(t), dim * sizeof(float));
}

void probabilities(const Attention& a, const Group& group, int64_t head, Room& r) {
  const float* qkv = a.qkv + head * 3 * a.dim;
  const int64_t stride = 3 * a.heads * a.dim;
  gather(qkv, stride, group, r.tokens, a.dim, r.query);
  gather(qkv + a.dim, stride, group, r.tokens, a.dim, r.key);
  gather(qkv + 2 * a.dim, stride, group, r.tokens, a.dim, r.value);
  turn(r.query.row(0), r.query.columns, r.queries_turned);
  multiply(r.key, false, r.queries_turned, r.tokens, a.dim, r.scores);
  softmax(r.scores, r.tokens, r.scale);
}

void forward(const Attention& a, const Group& group, int64_t head, Room& r) {
  probabilities(a, group, head, r);
  multiply(r.scores, true, r.value, r.tokens, r.tokens, r.out);
  scatter(r.out, group, r.tokens, a.dim, a.heads * a.dim, a.out + head * a.dim);
}

void backward(const Attention& a, const Group& group, int64_t head, Room& r) {
  const int64_t stride = 3 * a.heads * a.dim;
  probabilities(a, group, head, r);
  float* grad = a.grad_qkv + head * 3 * a.dim;
  gather(a.grad_out + head * a.dim, a.heads * a.dim, group, r.tokens, a.dim, r.grad_out);
  multiply(r.scores, false, r.grad_out, r.tokens, r.tokens, r.out);
  scatter(r.out, group, r.tokens, a.dim, stride, grad + 2 * a.dim);
  turn(r.grad_out.row(0), r.grad_out.columns, r.grad_out_turned);
  multiply(r.value, false, r.grad_out_turned, r.tokens, a.dim, r.grad_scores);
  softmax_backward(r.scores, r.grad_scores, r.tokens, r.scale);
  multiply(r.grad_scores, true, r.key, r.tokens, r.tokens, r.out);
  scatter(r.out, group, r.tokens, a.dim, stride, grad);
  multiply(r.grad_scores, false, r.query, r.tokens, r.tokens, r.out);
  scatter(r.out, group, r.tokens, a.dim, stride, grad + a.dim);
}

template <class Task> void for_all(const Attention& a, bool backward, Task task) {
  const int64_t tasks = a.batch * a.height * a.width / (a.rows * a.columns) * a.heads;
#pragma omp parallel num_threads(a.threads) if (a.threads > 1)
  {
    Room room(a, backward);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < tasks; ++i) task(a, Group(a, i / a.heads), i % a.heads, room);
  }
}

// The first half of a transformer block, in inference: norm, attention, and the sum with the input.
struct Half {
  Attention map;  // its pointers are null
  int64_t normed;
  const float* x;               // (batch, height, width, channels), adjacent
  const float *qkv, *qkv_bias;  // panels of (3 channels, channels), and as many numbers
  const float *proj, *proj_bias;
  float* y;  // as x
};

struct HalfRoom {
  Room room;
  int64_t channels, wide, line;  // of all heads; three times that, and once, in whole panels
  std::vector<V> normed, qkv, heads, sum;
  explicit HalfRoom(const Attention& a)
      : room(a, false), channels(a.heads * a.dim), wide(in_panels(3 * channels)),
        line(in_panels(channels)), normed(room.tokens * channels / N),
        qkv(round_up(room.tokens) * wide / N + 1), heads(normed), sum(room.tokens * line / N) {}
};

// One head, where it stands: q, k and v are adjacent, the tokens so far apart. What is read beyond a
// head's numbers goes no further.
void attend(const float* qkv, int64_t stride, float* out, int64_t line, Room& r) {
  turn(qkv, stride, r.queries_turned);
  multiply(qkv + r.dim, stride, 1, r.tokens, r.queries_turned.row(0), r.scores.columns,
           r.scores.columns, r.dim, r.scores.row(0), r.scores.columns);
  softmax(r.scores, r.tokens, r.scale);
  multiply(r.scores.row(0), 1, r.scores.columns, r.tokens, qkv + 2 * r.dim, stride, r.out.columns,
           r.tokens, r.out.row(0), r.out.columns);
  for (int64_t t = 0; t < r.tokens; ++t)
    std::memcpy(out + t * line, r.out.row(t), r.dim * sizeof(float));
}

float* numbers(std::vector<V>& v) { return reinterpret_cast<float*>(v.data()); }

void run(const Half& h, const Group& group, HalfRoom& r) {
  const int64_t tokens = r.room.tokens, size = r.channels;
  float *normed = numbers(r.normed), *qkv = numbers(r.qkv), *heads = numbers(r.heads);
  float* sum = numbers(r.sum);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* x = h.x + group[t] * size;
    if (h.normed) normalise(x, size, normed + t * size);
    else std::memcpy(normed + t * size, x, size * sizeof(float));
    std::memcpy(qkv + t * r.wide, h.qkv_bias, r.wide * sizeof(float));
    for (int64_t k = 0; k < size; k += N)
      store(sum + t * r.line + k, load(x + k) + load(h.proj_bias + k));
  }
  for (int64_t p = 0; p < r.wide; p += PANEL)
    product(normed, size, tokens, h.qkv + p * size, size, qkv + p, r.wide, true);
  for (int64_t head = 0; head < h.map.heads; ++head)
    attend(qkv + head * 3 * h.map.dim, r.wide, heads + head * h.map.dim, size, r.room);
  for (int64_t p = 0; p < r.line; p += PANEL)
    product(heads, size, tokens, h.proj + p * size, size, sum + p, r.line, true);
  for (int64_t t = 0; t < tokens; ++t)
    std::memcpy(h.y + group[t] * size, sum + t * r.line, size * sizeof(float));
}

}  // namespace

extern "C" void attend(const Attention* a) { for_all(*a, false, forward); }
extern "C" void attend_backward(const Attention* a) { for_all(*a, true, backward); }

extern "C" int64_t panel() { return PANEL; }

extern "C" void add_attention(const Half* h) {
  const Attention& a = h->map;
  const int64_t groups = a.batch * a.height * a.width / (a.rows * a.columns);
#pragma omp parallel num_threads(a.threads) if (a.threads > 1)
  {
    HalfRoom room(a);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < groups; ++i) run(*h, Group(a, i), room);
  }
}
