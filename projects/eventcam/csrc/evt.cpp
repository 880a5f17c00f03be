// Words of Prophesee's EVT2 and EVT3 to events. Called by io/readers/evt.py.
#include <algorithm>
#include <cstdint>

namespace {

enum Kinds { TIME_HIGH = 0x8, TRIGGER = 0xA, OTHERS = 0xE, CONTINUED = 0xF };  // of both
enum Evt2 { CD_OFF, CD_ON };
enum Evt3 { ADDR_Y = 0, ADDR_X = 2, BASE_X, VECT_12, VECT_8, TIME_LOW, CONTINUED_4 };

struct Clock {
  int64_t last, turns, restarts;

  // Take the next time of a clock that starts again after `turn`.
  void read(int64_t raw, int64_t turn) {
    const int64_t step = last < 0 ? 0 : raw - last;
    turns += (step < -turn / 2) - (step > turn / 2);
    restarts = std::max(restarts, turns);
    last = raw;
  }
};

struct State {  // what the words so far have said
  Clock clock;  // of the upper bits of the time
  int64_t origin, low, y, base, polarity;  // y and base: -1 before the first
  int64_t found, undefined, triggers, vendor, unknown;

  void count(uint32_t kind) {
    if (kind == TRIGGER) ++triggers;
    else if (kind == OTHERS || kind == CONTINUED) ++vendor;
    else ++unknown;
  }
};

struct Block {
  int64_t number;
  const void* words;
  State* state;
  uint16_t *x, *y;  // as many as room_evt*() says
  uint8_t* p;
  int64_t* t;
};

}  // namespace

// The most events that the words can be, into `found`.
extern "C" void room_evt2(const Block* b) { b->state->found = b->number; }

extern "C" void decode_evt2(const Block* block) {
  constexpr int64_t TURN = 1 << 28, RANGE = 1 << 6;  // of the upper and of the lower bits
  const Block b = *block;
  const uint32_t* words = static_cast<const uint32_t*>(b.words);
  State s = *b.state;
  int64_t n = 0, high = (s.clock.turns * TURN + s.clock.last) * RANGE - s.origin;
  for (int64_t i = 0; i < b.number; ++i) {
    const uint32_t word = words[i], kind = word >> 28, value = word & 0xFFFFFFF;
    if (kind == CD_OFF || kind == CD_ON) {
      b.x[n] = word >> 11 & 0x7FF;
      b.y[n] = word & 0x7FF;
      b.p[n] = kind;
      b.t[n] = high + (word >> 22 & 0x3F);
      ++(s.clock.last < 0 ? s.undefined : n);
    } else if (kind == TIME_HIGH) {
      if (s.clock.last < 0) s.origin = value * RANGE;
      s.clock.read(value, TURN);
      high = (s.clock.turns * TURN + value) * RANGE - s.origin;
    } else {
      s.count(kind);
    }
  }
  s.found = n;
  *b.state = s;
}

extern "C" void room_evt3(const Block* b) {
  constexpr int64_t PART = 4096;  // words whose sum fits into 16 bits, in which many are added at once
  const uint16_t* words = static_cast<const uint16_t*>(b->words);
  b->state->found = 0;
  for (int64_t from = 0; from < b->number; from += PART) {
    uint16_t room = 0;
    for (int64_t i = from; i < std::min(from + PART, b->number); ++i) {
      const uint16_t kind = words[i] >> 12;
      room += (kind == ADDR_X) + 12 * (kind == VECT_12) + 8 * (kind == VECT_8);
    }
    b->state->found += room;
  }
}

namespace {

class Evt3Decoder {
 public:
  explicit Evt3Decoder(const Block& block)
      : b(block), s(*block.state), said(uint64_t(s.y & 0xFFFF) << 16 | uint64_t(s.low) << 32) {
    set_high();
  }

  // Decode the words `from` to `to` - 1.
  void run(int64_t from, int64_t to) {
    const uint16_t* words = static_cast<const uint16_t*>(b.words);
    for (int64_t i = from; i < to; ++i) {
      const uint32_t kind = words[i] >> 12, value = words[i] & 0xFFF;
      if (COMMON >> kind & 1) {  // which of them cannot be foreseen, so there is no branch
        said = (said & KEPT[kind]) | uint64_t(value) << SHIFT[kind];
        waiting[count] = said;
        count += kind == ADDR_X;
      } else {
        read_other(kind, value);
      }
      if (count >= PART) write();
    }
    write();
  }

  // Forget the events so far, whose time or row was not known.
  void leave_out() {
    s.undefined += n;
    n = 0;
  }

  void end() {
    s.found = n, s.low = said >> 32, s.y = int16_t(said >> 16);
    *b.state = s;
  }

 private:
  static constexpr int64_t TURN = 1 << 12, RANGE = 1 << 12;
  static constexpr int64_t PART = 2048;     // events that are written at once
  static constexpr int64_t LAST_X = 0x7FFF;  // of vectors that go on and on
  static constexpr uint32_t COMMON = 1u << ADDR_Y | 1u << ADDR_X | 1u << TIME_LOW;
  static constexpr uint64_t FIELD = 0xFFFF;
  static constexpr uint64_t KEPT[] = {~(FIELD << 16), 0, ~FIELD, 0, 0, 0, ~(FIELD << 32)};
  static constexpr uint8_t SHIFT[] = {16, 0, 0, 0, 0, 0, 32};

  void read_other(uint32_t kind, uint32_t value) {
    if (kind == VECT_12 || kind == VECT_8) {
      read_vector(kind == VECT_12 ? value : value & 0xFF);
      if (s.base >= 0) s.base += kind == VECT_12 ? 12 : 8;
    } else if (kind == BASE_X) {
      s.base = value & 0x7FF;
      s.polarity = value >> 11;
    } else if (kind == TIME_HIGH) {
      write();
      if (s.clock.last < 0) s.origin = std::max<int64_t>(value - int64_t(1), 0) * RANGE;
      if (s.clock.last != value) said &= 0xFFFFFFFF;
      s.clock.read(value, TURN);
      set_high();
    } else {
      s.count(kind == CONTINUED_4 ? uint32_t(CONTINUED) : kind);
    }
  }

  void read_vector(uint32_t mask) {
    if (s.base < 0) {
      s.undefined += __builtin_popcount(mask);
      return;
    }
    const uint64_t rest = (said & ~FIELD) | uint64_t(s.polarity) << 11;
    for (; mask; mask &= mask - 1) {
      const uint64_t x = std::min(s.base + __builtin_ctz(mask), LAST_X);
      waiting[count++] = rest | (x & 0x7FF) | x >> 11 << 12;
    }
  }

  void write() {
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t event = waiting[i];
      b.x[n + i] = (event & 0x7FF) | (event >> 1 & 0x7800);
      b.y[n + i] = event >> 16;
      b.p[n + i] = event >> 11 & 1;
      b.t[n + i] = high + int64_t(event >> 32);
    }
    n += count;
    count = 0;
  }

  void set_high() { high = (s.clock.turns * TURN + s.clock.last) * RANGE - s.origin; }

  const Block b;
  State s;
  // What was said last. Bits 0-10: lower part of x; 11: polarity; 12-15: upper part of x, of
  // vectors; 16-31: y; 32-47: lower part of the time.
  uint64_t said;
  int64_t high, n = 0, count = 0;
  uint64_t waiting[PART + 12];  // events of the same upper part of the time
};

}  // namespace

extern "C" void decode_evt3(const Block* b) {
  const uint16_t* words = static_cast<const uint16_t*>(b->words);
  bool timed = b->state->clock.last >= 0, placed = b->state->y >= 0;
  int64_t start = 0;
  for (; start < b->number && !(timed && placed); ++start) {
    timed |= words[start] >> 12 == TIME_HIGH;
    placed |= words[start] >> 12 == ADDR_Y;
  }
  Evt3Decoder decoder(*b);
  decoder.run(0, start);
  decoder.leave_out();
  decoder.run(start, b->number);
  decoder.end();
}
