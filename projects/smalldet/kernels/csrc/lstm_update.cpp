// What an LSTM cell does behind its matrix product, in one pass over the data; and in inference the
// product, too, whose gates stay in the cache. The backward pass computes the gates again.
// lstm_update.py fills the structures.
#include <algorithm>
#include <vector>

#include "product.h"

namespace {

using V = Vec<float>;
constexpr int N = LANES<float>;

struct Update {
  int64_t cells, channels, threads;
  const float *gates;  // (cells, 4, channels), adjacent: forget, input, output gate, candidate
  const float *cell;   // (cells, channels), as all the others
  float *hidden, *next;
  const float *grad_hidden, *grad_next;
  float *grad_gates, *grad_cell;  // as gates; as cell
};

V tanh_of(V x) { return 2 * sigmoid(2 * x) - 1; }

struct Gates {
  V forget, write, read, candidate;
  Gates(const float* from, int64_t channels, int64_t lanes)
      : forget(sigmoid(load_lanes(from, 1, lanes))),
        write(sigmoid(load_lanes(from + channels, 1, lanes))),
        read(sigmoid(load_lanes(from + 2 * channels, 1, lanes))),
        candidate(tanh_of(load_lanes(from + 3 * channels, 1, lanes))) {}
};

void forward(const Update& u, int64_t at, int64_t gates_at, int64_t lanes) {
  const Gates g(u.gates + gates_at, u.channels, lanes);
  const V next = g.forget * load_lanes(u.cell + at, 1, lanes) + g.write * g.candidate;
  store_lanes(u.next + at, 1, lanes, next);
  store_lanes(u.hidden + at, 1, lanes, g.read * tanh_of(next));
}

void backward(const Update& u, int64_t at, int64_t gates_at, int64_t lanes) {
  const Gates g(u.gates + gates_at, u.channels, lanes);
  const V cell = load_lanes(u.cell + at, 1, lanes);
  const V t = tanh_of(g.forget * cell + g.write * g.candidate);
  const V above = load_lanes(u.grad_hidden + at, 1, lanes);
  const V next = load_lanes(u.grad_next + at, 1, lanes) + above * g.read * (1 - t * t);
  float* to = u.grad_gates + gates_at;
  store_lanes(to, 1, lanes, next * cell * g.forget * (1 - g.forget));
  store_lanes(to + u.channels, 1, lanes, next * g.candidate * g.write * (1 - g.write));
  store_lanes(to + 2 * u.channels, 1, lanes, above * t * g.read * (1 - g.read));
  store_lanes(to + 3 * u.channels, 1, lanes, next * g.write * (1 - g.candidate * g.candidate));
  store_lanes(u.grad_cell + at, 1, lanes, next * g.forget);
}

template <class Step> void for_all(const Update& u, Step step) {
#pragma omp parallel for schedule(static) num_threads(u.threads) if (u.threads > 1)
  for (int64_t i = 0; i < u.cells; ++i)
    for (int64_t c = 0; c < u.channels; c += N)
      step(u, i * u.channels + c, 4 * i * u.channels + c, std::min<int64_t>(N, u.channels - c));
}

constexpr int64_t CELLS = 120;  // of a task, at most: whole blocks

struct Step {
  int64_t cells, channels, threads;  // channels are whole panels
  const float *x, *hidden, *cell;    // (cells, channels), adjacent
  const float *panels, *bias;        // of (4 channels, 2 channels): x first; (4, channels)
  float *next_hidden, *next_cell;
};

// PANEL channels of some cells, beginning with the numbers at `at`.
void run(const Step& s, int64_t at, int64_t channel, int64_t cells, float* gates) {
  for (int64_t i = 0; i < cells; ++i)
    for (int g = 0; g < 4; ++g)
      std::copy_n(s.bias + g * s.channels + channel, PANEL, gates + (4 * i + g) * PANEL);
  for (int g = 0; g < 4; ++g) {
    const float* panel = s.panels + (g * s.channels + channel) * 2 * s.channels;
    for (const float* from : {s.x, s.hidden}) {
      product(from + at, s.channels, cells, panel, s.channels, gates + g * PANEL, 4 * PANEL, true);
      panel += s.channels * PANEL;
    }
  }
  for (int64_t i = 0; i < cells; ++i)
    for (int64_t j = 0; j < PANEL; j += N) {
      const Gates g(gates + 4 * i * PANEL + j, PANEL, N);
      const int64_t to = at + i * s.channels + channel + j;
      const V next = g.forget * load(s.cell + to) + g.write * g.candidate;
      store(s.next_cell + to, next);
      store(s.next_hidden + to, g.read * tanh_of(next));
    }
}

}  // namespace

extern "C" int64_t panel() { return PANEL; }

extern "C" void step(const Step* given) {
  const Step& s = *given;
  const int64_t size = task_rows(s.cells, s.threads, CELLS);
#pragma omp parallel num_threads(s.threads) if (s.threads > 1)
  {
    std::vector<V> gates(CELLS * 4 * PANEL / N);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < s.cells; i += size)
      for (int64_t c = 0; c < s.channels; c += PANEL)
        run(s, i * s.channels, c, std::min(size, s.cells - i),
            reinterpret_cast<float*>(gates.data()));
  }
}

extern "C" void update(const Update* u) { for_all(*u, forward); }
extern "C" void update_backward(const Update* u) { for_all(*u, backward); }
