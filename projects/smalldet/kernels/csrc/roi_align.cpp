// RoIAlign, forward and backward, on maps whose channels stand together in memory.
//
// The mean of bilinear samples on a grid is separable: a bin is a sum over columns, then over rows,
// of cells with weights ("taps"). So a region becomes lines of bins, one for each row of cells that
// it touches, and these become its bins; the backward pass goes the other way. Forward, a task is
// a region; backward, a task is some channels of an image, which takes the regions in their order.
// Tasks share nothing, so the result does not depend on the number of threads. roi_align.py fills
// the structures.
#include <algorithm>
#include <cmath>
#include <vector>

#include "vector_math.h"

namespace {

using V = Vec<float>;
constexpr int64_t N = LANES<float>;
constexpr int64_t AT_ONCE = 4;  // vectors

struct Map {  // (images, height, width, channels), adjacent
  int64_t height, width;
  float* data;  // read forward; backward gradients are added to it
};

struct Regions {
  int64_t count, images, channels;
  int64_t rows, columns;   // bins of a region
  int64_t samples;         // along each side of a bin; 0: one a cell at least
  int64_t threads;
  const double* boxes;     // (count, 4): left, top, width, height, in cells of its map
  const int64_t* image;    // (count)
  const int64_t* map;      // (count)
  float* bins;             // (count, rows, columns, channels), adjacent
  Map maps[];
};

struct Tap {
  int64_t index;
  float weight;
};
using Taps = std::vector<Tap>;

void add_tap(Taps& taps, int64_t index, float weight) {
  for (auto tap = taps.rbegin(); tap != taps.rend(); ++tap)
    if (tap->index == index) {
      tap->weight += weight;
      return;
    }
  taps.push_back({index, weight});
}

// How the bins of a region and the cells that it touches depend on each other, along one side.
struct Side {
  int64_t first = 0;        // cell; others count from it
  std::vector<Taps> bins;   // the cells of each bin
  std::vector<Taps> cells;  // the bins of each cell

  void place(double start, double length, int64_t count, int64_t samples, int64_t size) {
    bins.resize(count);
    for (Taps& bin : bins) bin.clear();
    for (Taps& cell : cells) cell.clear();
    if (!std::isfinite(start) || !std::isfinite(length)) return;
    first = cell_of(std::min(start, start + length), size);
    const int64_t touched = cell_of(std::max(start, start + length) + 1, size) - first + 1;
    if ((int64_t)cells.size() < touched) cells.resize(touched);
    const double bin = length / count, on_grid = samples ? samples : std::ceil(bin);
    for (int64_t b = 0; b < count; ++b) {
      for (double i = 0.5; i < on_grid; ++i)
        sample(b, start + bin * (b + i / on_grid), size, 1 / on_grid);
      for (const Tap& tap : bins[b]) cells[tap.index].push_back({b, tap.weight});
    }
  }

 private:
  static int64_t cell_of(double place, int64_t size) {
    return std::min(std::max(place, 0.0), size - 1.0);
  }

  // Bilinear; up to a cell beyond the map its edge counts, and farther 0.
  void sample(int64_t bin, double place, int64_t size, double weight) {
    if (place < -1 || place > size) return;
    const int64_t cell = cell_of(place, size);
    const double beyond = cell + 1 < size ? std::max(place, 0.0) - cell : 0.0;
    add_tap(bins[bin], cell - first, weight * (1 - beyond));
    if (beyond > 0) add_tap(bins[bin], cell + 1 - first, weight * beyond);
  }
};

// The sum over taps of rows of `length` numbers, which lie `distance` apart; stored, or added.
void combine(const Taps& taps, const float* from, int64_t distance, int64_t length, float* to,
             bool add) {
  int64_t c = 0;
  for (; c + AT_ONCE * N <= length; c += AT_ONCE * N) {
    V sum[AT_ONCE] = {};
    for (int k = 0; add && k < AT_ONCE; ++k) sum[k] = load(to + c + k * N);
    for (const Tap& tap : taps)
      for (int k = 0; k < AT_ONCE; ++k)
        sum[k] += tap.weight * load(from + tap.index * distance + c + k * N);
    for (int k = 0; k < AT_ONCE; ++k) store(to + c + k * N, sum[k]);
  }
  for (; c < length; c += N) {
    const int64_t lanes = std::min(N, length - c);
    V sum = add ? load_lanes(to + c, 1, lanes) : V{};
    for (const Tap& tap : taps)
      sum += tap.weight * load_lanes(from + tap.index * distance + c, 1, lanes);
    store_lanes(to + c, 1, lanes, sum);
  }
}

// What a thread needs for one region after the other.
struct Room {
  Side across, down;
  std::vector<float> lines;  // (rows of cells, columns of bins, channels)

  // Gives where the region's first cell lies.
  float* place(const Regions& r, int64_t region, int64_t channels) {
    const Map& map = r.maps[r.map[region]];
    const double* box = r.boxes + 4 * region;
    across.place(box[0], box[2], r.columns, r.samples, map.width);
    down.place(box[1], box[3], r.rows, r.samples, map.height);
    lines.resize(std::max(lines.size(), down.cells.size() * r.columns * channels));
    const int64_t row = r.image[region] * map.height + down.first;
    return map.data + (row * map.width + across.first) * r.channels;
  }
};

void forward(const Regions& r, int64_t region, Room& room) {
  const int64_t channels = r.channels, line = r.columns * channels;
  const int64_t below = r.maps[r.map[region]].width * channels;
  const float* cells = room.place(r, region, channels);
  for (size_t y = 0; y < room.down.cells.size(); ++y)
    for (int64_t b = 0; b < r.columns && !room.down.cells[y].empty(); ++b)
      combine(room.across.bins[b], cells + y * below, channels, channels,
              &room.lines[y * line + b * channels], false);
  for (int64_t b = 0; b < r.rows; ++b)
    combine(room.down.bins[b], room.lines.data(), line, line,
            r.bins + (region * r.rows + b) * line, false);
}

// Of `channels` channels from `first` on.
void backward(const Regions& r, int64_t region, int64_t first, int64_t channels, Room& room) {
  const int64_t below = r.maps[r.map[region]].width * r.channels;
  float* cells = room.place(r, region, channels) + first;
  const float* bins = r.bins + region * r.rows * r.columns * r.channels + first;
  for (size_t y = 0; y < room.down.cells.size(); ++y) {
    if (room.down.cells[y].empty()) continue;
    for (int64_t b = 0; b < r.columns; ++b)
      combine(room.down.cells[y], bins + b * r.channels, r.columns * r.channels, channels,
              &room.lines[b * channels], false);
    for (size_t x = 0; x < room.across.cells.size(); ++x)
      if (!room.across.cells[x].empty())
        combine(room.across.cells[x], room.lines.data(), channels, channels,
                cells + y * below + x * r.channels, true);
  }
}

void all_forward(const Regions& r) {
#pragma omp parallel num_threads(r.threads) if (r.threads > 1)
  {
    Room room;
#pragma omp for schedule(dynamic, 8)
    for (int64_t i = 0; i < r.count; ++i) forward(r, i, room);
  }
}

void all_backward(const Regions& r) {
  const int64_t vectors = (r.channels + N - 1) / N;
  const int64_t each = (vectors + r.threads - 1) / r.threads * N;  // channels of a task
  const int64_t tasks = (r.channels + each - 1) / each * r.images;
#pragma omp parallel num_threads(r.threads) if (r.threads > 1)
  {
    Room room;
#pragma omp for schedule(static)
    for (int64_t task = 0; task < tasks; ++task) {
      const int64_t first = task / r.images * each;
      for (int64_t i = 0; i < r.count; ++i)
        if (r.image[i] == task % r.images)
          backward(r, i, first, std::min(each, r.channels - first), room);
    }
  }
}

}  // namespace

extern "C" void align(const Regions* r) { all_forward(*r); }
extern "C" void align_backward(const Regions* r) { all_backward(*r); }
