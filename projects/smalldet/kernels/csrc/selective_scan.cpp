// The selective scan, forward and backward, for one direction or for two that share their output.
//
// One task is one image and one block of channels, a lane each; its states stay in registers
// while time goes on. Tasks share nothing, so the result does not depend on the number of
// threads. The backward pass computes the states of one chunk of steps at a time again, from the
// state at the chunk's start, which the forward pass has kept.
//
// Every stream is addressed by strides, so that any layout is read in place, and "steps" count in
// the direction of the scan: a scan from the end runs through the same memory the other way.
// The structures are mirrored in scan/compiled.py.
#include <algorithm>
#include <vector>

#include "vector_math.h"

namespace {

constexpr int STEPS = 32;  // of a chunk
constexpr int STATES = 8;  // carried at once; more are done in several rounds
constexpr int SHARING = 64 / BYTES;  // neighbouring tasks whose channels share cache lines

template <class T> struct Stream {  // (batch, channels, length)
  T* data;
  int64_t batch, channel, time;  // distances in elements
};

template <class T> struct Weights {  // (batch, groups, length, states), states adjacent
  const T* data;
  int64_t batch, group, time;
};

template <class T> struct Direction {
  Stream<const T> u, delta;
  Weights<T> B, C;
  Weights<T> steps;       // (batch, 1, length, rank): delta is factor times steps, if there is one
  const T* factor;        // (channels, rank) or null
  const T *A, *D, *bias;  // (channels, states), (channels), (channels); the last two may be null
  T* last_state;          // (batch, channels, states) or null
  T* starts;              // kept for the backward pass, or null
  int64_t reverse, rank;
};

template <class T> struct Scan {
  int64_t batch, channels, groups, length, states, threads, softplus, directions;
  double scale;
  Stream<T> out;
  Stream<const T> z;  // data may be null
  Direction<T> direction[2];
};

template <class T> struct Gradients {  // of one direction
  Stream<T> u, delta;
  T *A, *D, *bias;      // one of each for every image
  T* weights;           // of B and C; see store_weights
  const T* last_state;  // given, or null
};

template <class T> struct ScanGradients {
  Stream<const T> out;  // given
  Stream<T> z;
  Gradients<T> direction[2];
};

template <class T> struct Block {  // one task
  int64_t image, group, first, lanes, index;  // first channel, channels in use, number of the task
};

template <class T> int64_t blocks_per_group(const Scan<T>& s) {
  return (s.channels / s.groups + LANES<T> - 1) / LANES<T>;
}

template <class T> int64_t rounds(const Scan<T>& s) { return (s.states + STATES - 1) / STATES; }

template <class T> Block<T> block_of(const Scan<T>& s, int64_t task) {
  const int64_t size = s.channels / s.groups, per_group = blocks_per_group(s);
  const int64_t place = task % per_group, group = task / per_group % s.groups;
  return {task / per_group / s.groups, group, group * size + place * LANES<T>,
          std::min<int64_t>(LANES<T>, size - place * LANES<T>), task};
}

struct Chunk {
  int64_t start, steps, length;
  bool reverse;
  int64_t time(int64_t step) const { return reverse ? length - 1 - start - step : start + step; }
};

// A chunk of a stream, one vector a step.
template <class T>
void load_chunk(const Stream<const T>& s, const Block<T>& b, const Chunk& c, Vec<T>* to) {
  const T* from = s.data + b.image * s.batch + b.first * s.channel;
  int64_t i = 0;
  if (s.time == 1 && b.lanes == LANES<T>)
    for (; i + LANES<T> <= c.steps; i += LANES<T>) {  // squares of channels and steps
      Vec<T> square[LANES<T>];
      const int64_t low = std::min(c.time(i), c.time(i + LANES<T> - 1));
      for (int k = 0; k < LANES<T>; ++k) square[k] = load(from + k * s.channel + low);
      transpose<T>(square);
      for (int k = 0; k < LANES<T>; ++k) to[i + k] = square[c.reverse ? LANES<T> - 1 - k : k];
    }
  for (; i < c.steps; ++i) {
    const T* row = from + c.time(i) * s.time;
    __builtin_prefetch(from + c.time(i + STEPS) * s.time);  // rows lie far apart
    to[i] = load_lanes(row, s.channel, b.lanes);
  }
}

template <class T>
void store_chunk(const Stream<T>& s, const Block<T>& b, const Chunk& c, const Vec<T>* v) {
  T* to = s.data + b.image * s.batch + b.first * s.channel;
  int64_t i = 0;
  if (s.time == 1 && b.lanes == LANES<T>)
    for (; i + LANES<T> <= c.steps; i += LANES<T>) {
      Vec<T> square[LANES<T>];
      const int64_t low = std::min(c.time(i), c.time(i + LANES<T> - 1));
      for (int k = 0; k < LANES<T>; ++k) square[k] = v[i + (c.reverse ? LANES<T> - 1 - k : k)];
      transpose<T>(square);
      for (int k = 0; k < LANES<T>; ++k) store(to + k * s.channel + low, square[k]);
    }
  for (; i < c.steps; ++i) store_lanes(to + c.time(i) * s.time, s.channel, b.lanes, v[i]);
}

// B or C of one chunk from state `first` on: row i belongs to its step i.
template <class T> struct Rows {
  const T* data;
  int64_t distance;
  const T* operator[](int64_t step) const { return data + step * distance; }
};

template <class T>
Rows<T> rows_of(const Weights<T>& w, const Block<T>& b, const Chunk& c, int64_t first) {
  const T* data = w.data + b.image * w.batch + b.group * w.group + c.time(0) * w.time + first;
  return {data, c.reverse ? -w.time : w.time};
}

// One vector a state from rows (channels, states), in full rounds.
template <class T>
std::vector<Vec<T>> load_states(const T* rows, const Block<T>& b, const Scan<T>& s, double scale) {
  std::vector<Vec<T>> v(rounds(s) * STATES);
  for (int64_t i = 0; rows && i < b.lanes; ++i)
    for (int64_t n = 0; n < s.states; ++n) v[n][i] = rows[i * s.states + n] * (T)scale;
  return v;
}

template <class T>
void store_states(T* rows, const Block<T>& b, const Scan<T>& s, const std::vector<Vec<T>>& v) {
  for (int64_t i = 0; i < b.lanes; ++i)
    for (int64_t n = 0; n < s.states; ++n) rows[i * s.states + n] = v[n][i];
}

template <class T> int64_t chunks_of(const Scan<T>& s) { return (s.length + STEPS - 1) / STEPS; }

template <class T> Chunk chunk_of(const Scan<T>& s, const Direction<T>& d, int64_t index) {
  const int64_t start = index * STEPS;
  return {start, std::min<int64_t>(STEPS, s.length - start), s.length, d.reverse != 0};
}

// Where the states at the start of a chunk are kept.
template <class T>
T* start_of(const Scan<T>& s, const Direction<T>& d, const Block<T>& b, int64_t chunk) {
  return d.starts + (b.index * chunks_of(s) + chunk) * rounds(s) * STATES * LANES<T>;
}

// A chunk of delta = factor times steps, four columns of the factor at a time.
template <class T>
void multiply_steps(const Direction<T>& d, const Block<T>& b, const Chunk& c, Vec<T>* delta) {
  constexpr int AT_ONCE = 4;
  std::fill(delta, delta + c.steps, Vec<T>{});
  const Block<T> all{b.image, 0, b.first, b.lanes, b.index};  // one set for all groups
  for (int64_t r = 0; r < d.rank; r += AT_ONCE) {
    const int count = std::min<int64_t>(AT_ONCE, d.rank - r);
    const Rows<T> steps = rows_of(d.steps, all, c, r);
    Vec<T> column[AT_ONCE];
    for (int k = 0; k < count; ++k)
      column[k] = load_lanes(d.factor + b.first * d.rank + r + k, d.rank, b.lanes);
    for (int64_t i = 0; i < c.steps; ++i) {
      Vec<T> sum = delta[i];
      if (count == AT_ONCE)
        for (int k = 0; k < AT_ONCE; ++k) sum += column[k] * steps[i][k];
      else
        for (int k = 0; k < count; ++k) sum += column[k] * steps[i][k];
      delta[i] = sum;
    }
  }
}

// What all states of a task need of one chunk.
template <class T> struct Inputs {
  Vec<T> u[STEPS], raw[STEPS], dt[STEPS], x[STEPS];  // raw: dt before the softplus; x = dt * u
};

template <class T>
void load_inputs(const Scan<T>& s, const Direction<T>& d, const Block<T>& b, const Chunk& c,
                 Inputs<T>& in) {
  const Vec<T> bias = d.bias ? load_lanes(d.bias + b.first, 1, b.lanes) : Vec<T>{};
  load_chunk(d.u, b, c, in.u);
  if (d.factor) multiply_steps(d, b, c, in.raw);
  else load_chunk(d.delta, b, c, in.raw);
#pragma GCC unroll 2
  for (int64_t i = 0; i < c.steps; ++i) {
    in.raw[i] += bias;
    in.dt[i] = s.softplus ? softplus(in.raw[i]) : in.raw[i];
    in.x[i] = in.dt[i] * in.u[i];
  }
}

// Advance some states through a chunk and add what they give to y. (The number of states is a
// constant where this is inlined: so they stay in registers.)
template <class T>
ALWAYS_INLINE void advance(const Inputs<T>& in, Rows<T> B, Rows<T> C, const Vec<T>* A,
                           int64_t steps, int count, Vec<T>* state, Vec<T>* y) {
  Vec<T> h[STATES], rate[STATES];
  for (int n = 0; n < count; ++n) h[n] = state[n], rate[n] = A[n];
  for (int64_t i = 0; i < steps; ++i) {
    const Vec<T> dt = in.dt[i], x = in.x[i];
    Vec<T> sum = y[i];
    for (int n = 0; n < count; ++n) {
      h[n] = exp2_of(dt * rate[n]) * h[n] + x * B[i][n];
      sum += h[n] * C[i][n];
    }
    y[i] = sum;
  }
  for (int n = 0; n < count; ++n) state[n] = h[n];
}

// What a task carries from one chunk to the next.
template <class T> struct Carried {
  Block<T> block;
  std::vector<Vec<T>> A, state;
  Vec<T> skip;
  Carried(const Scan<T>& s, const Direction<T>& d, const Block<T>& b)
      : block(b), A(load_states(d.A + b.first * s.states, b, s, LOG2_E)), state(A.size()),
        skip(d.D ? load_lanes(d.D + b.first, 1, b.lanes) : Vec<T>{}) {}
};

template <class T> void forward(const Scan<T>& s, int index, int64_t chunk, Carried<T>& carried) {
  const Direction<T>& d = s.direction[index];
  const Block<T>& b = carried.block;
  std::vector<Vec<T>>&A = carried.A, &state = carried.state;
  const bool first = index == 0, last = index + 1 == s.directions;
  const Chunk c = chunk_of(s, d, chunk);
  Inputs<T> in;
  Vec<T> y[STEPS], other[STEPS];
  load_inputs(s, d, b, c, in);
  if (d.starts) std::memcpy(start_of(s, d, b, chunk), state.data(), state.size() * sizeof(Vec<T>));
  for (int64_t i = 0; i < c.steps; ++i) y[i] = d.D ? carried.skip * in.u[i] : Vec<T>{};
  for (int64_t n = 0; n < s.states; n += STATES) {
    const int count = std::min<int64_t>(STATES, s.states - n);
    const Rows<T> B = rows_of(d.B, b, c, n), C = rows_of(d.C, b, c, n);
    if (count == STATES) advance(in, B, C, &A[n], c.steps, STATES, &state[n], y);
    else advance(in, B, C, &A[n], c.steps, count, &state[n], y);
  }
  if (!first) {
    load_chunk<T>({s.out.data, s.out.batch, s.out.channel, s.out.time}, b, c, other);
    for (int64_t i = 0; i < c.steps; ++i) y[i] += other[i];
  }
  if (last && s.scale != 1)
    for (int64_t i = 0; i < c.steps; ++i) y[i] *= (T)s.scale;
  if (last && s.z.data) {
    load_chunk(s.z, b, c, other);
    for (int64_t i = 0; i < c.steps; ++i) y[i] *= other[i] * sigmoid(other[i]);
  }
  store_chunk(s.out, b, c, y);
}

// Tasks that share cache lines go from chunk to chunk together.
template <class T> void forward(const Scan<T>& s, int64_t task, int64_t tasks, int index) {
  const Direction<T>& d = s.direction[index];
  std::vector<Carried<T>> all;
  for (int64_t i = 0; i < tasks; ++i) all.emplace_back(s, d, block_of(s, task + i));
  for (int64_t k = 0; k < chunks_of(s); ++k)
    for (Carried<T>& carried : all) forward(s, index, k, carried);
  for (const Carried<T>& carried : all)
    if (const Block<T>& b = carried.block; d.last_state)
      store_states(d.last_state + (b.image * s.channels + b.first) * s.states, b, s, carried.state);
}

// The states of a chunk once more, all of them kept: h[i] before step i, decay[i] of step i.
template <class T>
void replay(const Inputs<T>& in, Rows<T> B, Rows<T> C, const Vec<T>* A, int64_t steps, int count,
            Vec<T> (*h)[STATES], Vec<T> (*decay)[STATES], Vec<T>* y) {
  for (int64_t i = 0; i < steps; ++i)
    for (int n = 0; n < count; ++n) {
      decay[i][n] = exp2_of(in.dt[i] * (A[n] * (T)LOG2_E));
      h[i + 1][n] = decay[i][n] * h[i][n] + in.x[i] * B[i][n];
      y[i] += h[i + 1][n] * C[i][n];
    }
}

// The gradients of B and C are sums over channels: here those over the lanes of a task. For each
// step and round there are STATES numbers for B, then STATES for C.
template <class T> void store_weights(T* to, Vec<T>* parts) {
  for (int i = 0; i < 2 * STATES; i += LANES<T>) store(to + i, sums_of_lanes<T>(parts + i));
}

// From the last step of a chunk to its first: what each state sends to the inputs.
template <class T>
void retreat(const Inputs<T>& in, Rows<T> B, Rows<T> C, const Vec<T>* A, const Chunk& c, int count,
             const Vec<T> (*h)[STATES], const Vec<T> (*decay)[STATES], const Vec<T>* gy,
             Vec<T>* carry, Vec<T>* gA, Vec<T>* gx, Vec<T>* gdt, T* weights, int64_t row) {
  for (int64_t i = c.steps - 1; i >= 0; --i) {
    Vec<T> parts[2 * STATES] = {};
    for (int n = 0; n < count; ++n) {
      const Vec<T> adjoint = gy[i] * C[i][n] + carry[n];
      parts[n] = adjoint * in.x[i];
      parts[STATES + n] = h[i + 1][n] * gy[i];
      gx[i] += adjoint * B[i][n];
      carry[n] = decay[i][n] * adjoint;
      const Vec<T> exponent = carry[n] * h[i][n];
      gA[n] += exponent * in.dt[i];
      gdt[i] += exponent * A[n];
    }
    store_weights(weights + c.time(i) * row, parts);
  }
}

template <class T>
void backward(const Scan<T>& s, const ScanGradients<T>& g, const Block<T>& b, int index) {
  const Direction<T>& d = s.direction[index];
  const Gradients<T>& to = g.direction[index];
  const int64_t states = b.image * s.channels + b.first, row = rounds(s) * 2 * STATES;
  const std::vector<Vec<T>> A = load_states(d.A + b.first * s.states, b, s, 1);
  const T* last = to.last_state ? to.last_state + states * s.states : nullptr;
  std::vector<Vec<T>> carry = load_states(last, b, s, 1), gA(A.size());
  Vec<T> gD{}, gbias{};
  const Vec<T> skip = d.D ? load_lanes(d.D + b.first, 1, b.lanes) : Vec<T>{};
  Inputs<T> in;
  Vec<T> y[STEPS], z[STEPS], gout[STEPS], gy[STEPS], gx[STEPS], gdt[STEPS], gz[STEPS];
  Vec<T> h[STEPS + 1][STATES], decay[STEPS][STATES];
  for (int64_t k = chunks_of(s) - 1; k >= 0; --k) {
    const Chunk c = chunk_of(s, d, k);
    load_inputs(s, d, b, c, in);
    load_chunk(g.out, b, c, gout);
    if (s.z.data) load_chunk(s.z, b, c, z);
    for (int64_t i = 0; i < c.steps; ++i) {
      gout[i] *= (T)s.scale;
      gy[i] = s.z.data ? gout[i] * z[i] * sigmoid(z[i]) : gout[i];
      y[i] = skip * in.u[i];
      gx[i] = gdt[i] = Vec<T>{};
    }
    for (int64_t n = 0; n < s.states; n += STATES) {
      const int count = std::min<int64_t>(STATES, s.states - n);
      const Rows<T> B = rows_of(d.B, b, c, n), C = rows_of(d.C, b, c, n);
      std::memcpy(h[0], start_of(s, d, b, k) + n * LANES<T>, sizeof h[0]);
      replay(in, B, C, &A[n], c.steps, count, h, decay, y);
      retreat(in, B, C, &A[n], c, count, h, decay, gy, &carry[n], &gA[n], gx, gdt,
              to.weights + b.index * s.length * row + 2 * n, row);
    }
    for (int64_t i = 0; i < c.steps; ++i) {
      gdt[i] += gx[i] * in.u[i];
      if (s.softplus) gdt[i] = in.raw[i] > LINEAR_FROM<T> ? gdt[i] : gdt[i] * sigmoid(in.raw[i]);
      gx[i] = gx[i] * in.dt[i] + gy[i] * skip;
      gD += gy[i] * in.u[i];
      gbias += gdt[i];
    }
    store_chunk(to.u, b, c, gx);
    store_chunk(to.delta, b, c, gdt);
    if (!s.z.data) continue;
    if (index) load_chunk<T>({g.z.data, g.z.batch, g.z.channel, g.z.time}, b, c, gz);
    for (int64_t i = 0; i < c.steps; ++i) {
      const Vec<T> gate = sigmoid(z[i]);
      const Vec<T> slope = gout[i] * y[i] * gate * (1 + z[i] * (1 - gate));
      gz[i] = index ? gz[i] + slope : slope;
    }
    store_chunk(g.z, b, c, gz);
  }
  store_states(to.A + states * s.states, b, s, gA);
  store_lanes(to.D + states, 1, b.lanes, gD);
  store_lanes(to.bias + states, 1, b.lanes, gbias);
}

template <class T> void run_forward(const Scan<T>& s) {
  const int64_t tasks = s.batch * s.groups * blocks_per_group(s);
#pragma omp parallel for schedule(dynamic) num_threads(s.threads) if (s.threads > 1)
  for (int64_t task = 0; task < tasks; task += SHARING)
    for (int i = 0; i < s.directions; ++i)
      forward(s, task, std::min<int64_t>(SHARING, tasks - task), i);
}

template <class T> void run_backward(const Scan<T>& s, const ScanGradients<T>& g) {
  const int64_t tasks = s.batch * s.groups * blocks_per_group(s);
#pragma omp parallel for schedule(dynamic, SHARING) num_threads(s.threads) if (s.threads > 1)
  for (int64_t task = 0; task < tasks; ++task)
    for (int i = 0; i < s.directions; ++i) backward(s, g, block_of(s, task), i);
}

}  // namespace

extern "C" {
int64_t lanes_f32() { return LANES<float>; }
int64_t lanes_f64() { return LANES<double>; }
int64_t steps_of_chunk() { return STEPS; }
int64_t states_of_round() { return STATES; }
void forward_f32(const Scan<float>* s) { run_forward(*s); }
void forward_f64(const Scan<double>* s) { run_forward(*s); }
void backward_f32(const Scan<float>* s, const ScanGradients<float>* g) { run_backward(*s, *g); }
void backward_f64(const Scan<double>* s, const ScanGradients<double>* g) { run_backward(*s, *g); }
}
