// Vectors as wide as the processor's registers, and the few functions of them that a scan needs.
//
// NaN and infinity come out as IEEE arithmetic says. In float, exp and softplus are polynomials
// with relative errors of about 1e-7; in double they are the C library's, lane by lane: that
// serves exact tests, not speed.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>
#define HAS_AVX512 1
constexpr int BYTES = 64;
#elif defined(__AVX2__)
#include <immintrin.h>
#define HAS_AVX2 1
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

#define ALWAYS_INLINE inline __attribute__((always_inline))

template <class T> constexpr int LANES = BYTES / sizeof(T);
template <class T> struct VecOf {
  typedef T type __attribute__((vector_size(BYTES)));
};
template <class T> using Vec = typename VecOf<T>::type;

// Not 0 + value, which the compiler may not leave out: it makes +0 of -0.
template <class T> inline Vec<T> splat(T value) { return value - Vec<T>{}; }

template <class T> inline Vec<T> load(const T* from) {
  Vec<T> v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

template <class V> inline void store(void* to, const V& v) { std::memcpy(to, &v, sizeof v); }

// The first `lanes` numbers at a distance of `stride`; the other lanes are 0, and not written.
template <class T> inline Vec<T> load_lanes(const T* from, int64_t stride, int64_t lanes) {
  if (stride == 1 && lanes == LANES<T>) return load(from);
  Vec<T> v{};
  for (int i = 0; i < lanes; ++i) v[i] = from[i * stride];
  return v;
}

template <class T> inline void store_lanes(T* to, int64_t stride, int64_t lanes, Vec<T> v) {
  if (stride == 1 && lanes == LANES<T>) return store(to, v);
  for (int i = 0; i < lanes; ++i) to[i * stride] = v[i];
}

// The larger ones; b where one is NaN.
inline Vec<float> larger(Vec<float> a, Vec<float> b) {
#ifdef HAS_AVX2  // one instruction, which the compiler does not find
  return _mm256_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}

// x between two limits; NaN passes.
inline Vec<float> clamp(Vec<float> x, float low, float high) {
#ifdef HAS_AVX2
  return _mm256_min_ps(splat(high), larger(splat(low), x));
#else
  x = x < low ? splat(low) : x;
  return x > high ? splat(high) : x;
#endif
}

// 2^x; about 1e-38 where it would be less, and 0 then with AVX-512. The polynomial for |r| <= 1/2
// has the smallest relative error (2e-9) among those of degree 6 that are exactly 1 at 0, so that
// slow decays do not drift.
inline Vec<float> exp2_of(Vec<float> x) {
#ifdef HAS_AVX512
  const Vec<float> r = _mm512_reduce_ps(x, 8), n = x - r;
#else
  x = clamp(x, -126, 128);
  const Vec<float> shifted = x + 12582912.0f;  // + 1.5 * 2^23 rounds to an integer
  const Vec<float> n = shifted - 12582912.0f, r = x - n;
#endif
  Vec<float> p = r * 1.535336181e-4f + 1.339887445e-3f;
  p = p * r + 9.618437358e-3f;
  p = p * r + 5.550332471e-2f;
  p = p * r + 2.402264791e-1f;
  p = p * r + 6.931472029e-1f;
  p = p * r + 1.0f;
#ifdef HAS_AVX512
  return _mm512_scalef_ps(p, n);
#else
  typedef int32_t Bits __attribute__((vector_size(BYTES)));
  return (Vec<float>)((Bits)p + ((Bits)shifted << 23));  // n more in the exponent
#endif
}

inline Vec<double> exp2_of(Vec<double> x) {
  for (int i = 0; i < LANES<double>; ++i) x[i] = std::exp2(x[i]);
  return x;
}

constexpr double LOG2_E = 1.4426950408889634;

template <class V> inline V exp_of(V x) { return exp2_of(x * (decltype(x[0] + x[0]))LOG2_E); }

// log(1 + t) for 0 <= t <= 1, as t times a polynomial (relative error 5e-9).
inline Vec<float> log1p_of(Vec<float> t) {
  Vec<float> p = t * -3.318469628e-3f + 2.020457184e-2f;
  p = p * t - 5.766441981e-2f;
  p = p * t + 1.068055307e-1f;
  p = p * t - 1.535539490e-1f;
  p = p * t + 1.969540008e-1f;
  p = p * t - 2.495858734e-1f;
  p = p * t + 3.333051131e-1f;
  p = p * t - 4.999993276e-1f;
  p = p * t + 1.0f;
  return p * t;
}

inline Vec<double> log1p_of(Vec<double> t) {
  for (int i = 0; i < LANES<double>; ++i) t[i] = std::log1p(t[i]);
  return t;
}

// Above it softplus(x) is x in all digits of the type.
template <class T> constexpr T LINEAR_FROM = sizeof(T) == 4 ? 20 : 40;

// log(1 + exp(x)).
template <class V> inline V softplus(V x) {
  const V soft = log1p_of(exp_of(x > 0 ? -x : x)) + (x > 0 ? x : V{});
  return x > LINEAR_FROM<decltype(x[0] + x[0])> ? x : soft;
}

template <class V> inline V sigmoid(V x) { return 1 / (1 + exp_of(-x)); }

template <class T, int... I>
inline Vec<T> interleave(Vec<T> a, Vec<T> b, int half, std::integer_sequence<int, I...>) {
  constexpr int N = LANES<T>;
#if defined(__clang__) || __GNUC__ >= 12
  return half ? __builtin_shufflevector(a, b, (N / 2 + I / 2 + I % 2 * N)...)
              : __builtin_shufflevector(a, b, (I / 2 + I % 2 * N)...);
#else
  typedef decltype(a < b) Mask;
  return half ? __builtin_shuffle(a, b, Mask{(N / 2 + I / 2 + I % 2 * N)...})
              : __builtin_shuffle(a, b, Mask{(I / 2 + I % 2 * N)...});
#endif
}

// The elements of the lower (half = 0) or upper (half = 1) halves of a and b in turn.
template <class T> inline Vec<T> zip(Vec<T> a, Vec<T> b, int half) {
  return interleave<T>(a, b, half, std::make_integer_sequence<int, LANES<T>>{});
}

// Transpose a square of LANES vectors in place.
template <class T> inline void transpose(Vec<T>* v) {
  constexpr int N = LANES<T>;
  Vec<T> w[N];
  for (int width = 1; width < N; width *= 2) {
    for (int i = 0; i < N / 2; ++i) {
      w[2 * i] = zip<T>(v[i], v[i + N / 2], 0);
      w[2 * i + 1] = zip<T>(v[i], v[i + N / 2], 1);
    }
    for (int i = 0; i < N; ++i) v[i] = w[i];
  }
}

// The sums over the lanes of LANES vectors, as one vector; overwrites v.
template <class T> inline Vec<T> sums_of_lanes(Vec<T>* v) {
  for (int half = LANES<T> / 2; half; half /= 2)
    for (int i = 0; i < half; ++i)
      v[i] = zip<T>(v[i], v[i + half], 0) + zip<T>(v[i], v[i + half], 1);
  return v[0];
}
