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
  uint16_t *x, *y;  // room for all events
  uint8_t* p;
  int64_t* t;
};

}  // namespace

// found: room for the events of the words, whether they will be known or not.
extern "C" void count_evt2(const Block* b) {
  const uint32_t* words = static_cast<const uint32_t*>(b->words);
  int64_t events = 0;
  for (int64_t i = 0; i < b->number; ++i) events += words[i] >> 28 <= CD_ON;
  b->state->found = events;
}

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

// found: as above.
extern "C" void count_evt3(const Block* b) {
  const uint16_t* words = static_cast<const uint16_t*>(b->words);
  int64_t events = 0;
  for (int64_t i = 0; i < b->number; ++i) {
    const uint32_t kind = words[i] >> 12;
    const uint32_t valid = kind == VECT_12 ? 0xFFF : kind == VECT_8 ? 0xFF : 0;
    events += (kind == ADDR_X) + __builtin_popcount(words[i] & valid);
  }
  b->state->found = events;
}

extern "C" void decode_evt3(const Block* block) {
  constexpr int64_t TURN = 1 << 12, RANGE = 1 << 12;
  const Block b = *block;
  const uint16_t* words = static_cast<const uint16_t*>(b.words);
  State s = *b.state;
  int64_t n = 0, high = (s.clock.turns * TURN + s.clock.last) * RANGE - s.origin;
  const auto put = [&](int64_t x, uint8_t polarity) {
    b.x[n] = std::min<int64_t>(x, UINT16_MAX);
    b.y[n] = s.y;
    b.p[n] = polarity;
    b.t[n] = high + s.low;
    ++n;
  };
  for (int64_t i = 0; i < b.number; ++i) {
    const uint32_t kind = words[i] >> 12, value = words[i] & 0xFFF;
    const bool known = s.clock.last >= 0 && s.y >= 0;
    if (kind == ADDR_X) {
      if (known) put(value & 0x7FF, value >> 11);
      else ++s.undefined;
    } else if (kind == ADDR_Y) {
      s.y = value;
    } else if (kind == TIME_LOW) {
      s.low = value;
    } else if (kind == VECT_12 || kind == VECT_8) {
      uint32_t mask = kind == VECT_12 ? value : value & 0xFF;
      if (!known || s.base < 0) {
        s.undefined += __builtin_popcount(mask);
        mask = 0;
      }
      for (; mask; mask &= mask - 1) put(s.base + __builtin_ctz(mask), s.polarity);
      if (s.base >= 0) s.base += kind == VECT_12 ? 12 : 8;
    } else if (kind == BASE_X) {
      s.base = value & 0x7FF;
      s.polarity = value >> 11;
    } else if (kind == TIME_HIGH) {
      if (s.clock.last < 0) s.origin = std::max<int64_t>(value - int64_t(1), 0) * RANGE;
      if (s.clock.last != value) s.low = 0;
      s.clock.read(value, TURN);
      high = (s.clock.turns * TURN + value) * RANGE - s.origin;
    } else {
      s.count(kind == CONTINUED_4 ? uint32_t(CONTINUED) : kind);
    }
  }
  s.found = n;
  *b.state = s;
}
