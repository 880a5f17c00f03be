// Counting events by polarity, time bin and place. Called by representations.py.
#include <algorithm>
#include <cstdint>

namespace {

constexpr int64_t BLOCK = 4096;  // events whose cells are found before any is counted
constexpr int64_t AHEAD = 96;    // cells that are fetched into the cache before their turn

struct Histogram {
  int64_t height, width;  // of the result
  int64_t bins, limit;    // limit: largest count
  int64_t half, odd;      // halve coordinates (0 or 1); keep only those that are odd in x and in y
  const uint16_t *x, *y;  // on the sensor
  const uint8_t* p;
  const int64_t* borders;  // (bins + 1) first event of each time bin, and the number of events
  uint8_t* out;            // (2, bins, height, width), zeros
};

// The cells of some events, relative to those of their bin. Events without one, if there can be
// any (SOME), are left out without a branch: which ones cannot be foreseen. Returns the number.
template <bool SOME>
int64_t find_cells(const Histogram& h, int64_t from, int64_t to, uint32_t* cells) {
  const uint32_t width = h.width, height = h.height, half = h.half, any = !h.odd;
  const uint32_t brighter = h.bins * h.height * h.width;
  int64_t found = 0;
  for (int64_t i = from; i < to; ++i) {
    const uint32_t row = h.y[i] >> half, column = h.x[i] >> half;
    cells[SOME ? found : i - from] = (h.p[i] ? brighter : 0) + row * width + column;
    if (SOME) found += (any | (h.x[i] & h.y[i] & 1)) & (row < height) & (column < width);
  }
  return SOME ? found : to - from;
}

void count(uint8_t* out, const uint32_t* cells, int64_t number, uint8_t limit) {
  for (int64_t i = 0; i < number; ++i) {
    __builtin_prefetch(out + cells[std::min(i + AHEAD, number - 1)], 1);
    uint8_t& cell = out[cells[i]];
    cell += cell < limit;
  }
}

}  // namespace

extern "C" void count_events(const Histogram* h) {
  uint32_t cells[BLOCK];
  for (int64_t bin = 0; bin < h->bins; ++bin)
    for (int64_t from = h->borders[bin]; from < h->borders[bin + 1]; from += BLOCK) {
      const int64_t to = std::min(from + BLOCK, h->borders[bin + 1]);
      const auto find = h->half ? find_cells<true> : find_cells<false>;
      const int64_t found = find(*h, from, to, cells);
      count(h->out + bin * h->height * h->width, cells, found, h->limit);
    }
}
