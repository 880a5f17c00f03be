// Weighted means of neighbouring rows, or columns, of an image: one of the two passes of a resize.
// Called by resize.py.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int BITS = 22;   // behind the point of a weight
constexpr int64_t N = 32;  // values that are summed at once, and rows that become columns at once
constexpr int64_t SIDE = 16;  // of a square that is turned at once
constexpr int64_t COLOURS = 3;

typedef uint32_t Words __attribute__((vector_size(N)));  // of four bytes each
typedef uint8_t Bytes __attribute__((vector_size(SIDE)));

struct Resize {
  int64_t height, width;         // of what is given
  int64_t size, taps;            // of the result, in the direction of the pass; most weights
  const uint8_t* in;             // (height, width, 3)
  uint8_t* out;                  // (size, width, 3), or (height, size, 3)
  const int32_t *first, *count;  // (size) where the neighbours of a place begin, and how many
  const uint32_t* weights;       // (size, taps), sums of 1
};

// n bytes; WHOLE: as many as V has, which makes one instruction of a copy.
template <class V, bool WHOLE> V load(const uint8_t* from, int64_t n) {
  V vector = {};
  std::memcpy(&vector, from, WHOLE ? sizeof(V) : n);
  return vector;
}

template <bool WHOLE, class V> void store(uint8_t* to, V vector, int64_t n) {
  std::memcpy(to, &vector, WHOLE ? sizeof(V) : n);
}

// n values of line y of the result, from lines of `length` values.
template <bool WHOLE>
void mean(const Resize& r, const uint8_t* in, uint8_t* out, int64_t y, int64_t length, int64_t n) {
  const uint32_t* weights = r.weights + y * r.taps;
  Words sums[4];  // each of every fourth byte
  std::fill(sums, sums + 4, Words{} + (1 << (BITS - 1)));
  for (int64_t t = 0; t < r.count[y]; ++t, in += length) {
    const Words values = load<Words, WHOLE>(in, n);
    for (int i = 0; i < 4; ++i) sums[i] += (values >> 8 * i & 255) * weights[t];
  }
  Words bytes = {};
  for (int i = 0; i < 4; ++i) bytes |= sums[i] >> BITS << 8 * i;
  store<WHOLE>(out, bytes, n);
}

void resize_lines(const Resize& r, const uint8_t* in, uint8_t* out, int64_t length) {
  const int64_t whole = length - length % N;
  for (int64_t y = 0; y < r.size; ++y, out += length) {
    const uint8_t* from = in + r.first[y] * length;
    for (int64_t i = 0; i < whole; i += N) mean<true>(r, from + i, out + i, y, length, N);
    if (whole < length) mean<false>(r, from + whole, out + whole, y, length, length - whole);
  }
}

// Rows become columns: interleaving the first and the second half, four times.
void turn(Bytes (&lines)[SIDE]) {
  const Bytes low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}, high = low + 8;
  for (int step = 1; step < SIDE; step *= 2) {
    Bytes next[SIDE];
    for (int i = 0; i < SIDE / 2; ++i) {
      next[2 * i] = __builtin_shuffle(lines[i], lines[i + SIDE / 2], low);
      next[2 * i + 1] = __builtin_shuffle(lines[i], lines[i + SIDE / 2], high);
    }
    std::copy(next, next + SIDE, lines);
  }
}

// A square of `height` rows of `width` values becomes one of `width` rows; strides in bytes.
template <bool WHOLE>
void turn_square(const uint8_t* in, int64_t in_stride, uint8_t* out, int64_t out_stride,
                 int64_t height, int64_t width) {
  Bytes lines[SIDE] = {};
  for (int64_t i = 0; i < height; ++i) lines[i] = load<Bytes, WHOLE>(in + i * in_stride, width);
  turn(lines);
  for (int64_t i = 0; i < width; ++i) store<WHOLE>(out + i * out_stride, lines[i], height);
}

void turn_all(const uint8_t* in, int64_t in_stride, uint8_t* out, int64_t out_stride,
              int64_t height, int64_t width) {
  for (int64_t y = 0; y < height; y += SIDE)
    for (int64_t x = 0; x < width; x += SIDE) {
      const int64_t h = std::min(SIDE, height - y), w = std::min(SIDE, width - x);
      const auto square = h == SIDE && w == SIDE ? turn_square<true> : turn_square<false>;
      square(in + y * in_stride + x, in_stride, out + x * out_stride + y, out_stride, h, w);
    }
}

}  // namespace

extern "C" void resize_rows(const Resize* r) {
  resize_lines(*r, r->in, r->out, COLOURS * r->width);
}

extern "C" void resize_columns(const Resize* r) {
  const int64_t length = COLOURS * r->width, new_length = COLOURS * r->size;
  std::vector<uint8_t> turned(length * N), resized(new_length * N);
  for (int64_t y = 0; y < r->height; y += N) {
    const int64_t rows = std::min(N, r->height - y);
    turn_all(r->in + y * length, length, turned.data(), N, rows, length);
    resize_lines(*r, turned.data(), resized.data(), COLOURS * N);
    turn_all(resized.data(), N, r->out + y * new_length, new_length, new_length, rows);
  }
}
