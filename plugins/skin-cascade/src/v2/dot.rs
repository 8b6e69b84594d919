//! The one place with machine instructions: products of cells and weights, eight lanes of 16 bits at a time, by `pmaddwd` on x86-64 (its
//! baseline, SSE2) and `i32x4.dot_i16x8_s` on WebAssembly with simd128. A loop that says the same compiles to several times the
//! instructions. [`portable`] is the meaning, and what other machines run; a property test holds the two equal.

/// Values of one row of a window.
pub const ROW: usize = 24;
/// Rows of a window.
pub const ROWS: usize = 6;
const LANES: usize = 8;

/// Scores of all windows whose top left cells are in the first row of `band`: `into[column]` is the sum over six rows (`stride` values
/// apart) of 24 values from `column * 4` on, times `weights`. Stops where a window would reach past `band`.
/// The caller keeps values within 0..=255 and weights within ±4095, so that no sum overflows.
#[inline]
pub fn scores(band: &[i16], stride: usize, weights: &[[i16; ROW]; ROWS], into: &mut [i32]) {
    for (column, score) in into.iter_mut().enumerate() {
        let Some(window) = band.get(column * 4..) else { return };
        let Some(sum) = score_of(window, stride, weights) else { return };
        *score = sum;
    }
}

/// One window's score; `None` where it reaches past `window`.
#[inline]
pub fn score_of(window: &[i16], stride: usize, weights: &[[i16; ROW]; ROWS]) -> Option<i32> {
    // One check for the whole window.
    let needed = stride.checked_mul(ROWS - 1)?.checked_add(ROW)?;
    if window.len() < needed {
        return None;
    }
    Some(machine::dot(window, stride, weights))
}

/// What [`score_of`] computes, for a window that lies inside.
#[cfg(any(test, not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")))))]
pub fn portable(window: &[i16], stride: usize, weights: &[[i16; ROW]; ROWS]) -> i32 {
    let rows = weights.iter().enumerate();
    rows.map(|(i, weights)| window[i * stride..].iter().zip(weights).map(|(v, w)| i32::from(*v) * i32::from(*w)).sum::<i32>()).sum()
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_madd_epi16, _mm_setzero_si128, _mm_shuffle_epi32,
    };

    use super::{LANES, ROW, ROWS};

    #[inline]
    pub fn dot(window: &[i16], stride: usize, weights: &[[i16; ROW]; ROWS]) -> i32 {
        assert!(window.len() >= (ROWS - 1) * stride + ROW);
        // SAFETY: SSE2 is part of x86-64. Loads are unaligned, of 8 values from `row * stride + lane` with lane <= ROW - 8, so the last
        // ends at `(ROWS - 1) * stride + ROW`, within `window` by the assertion, and within a row of `weights`.
        unsafe {
            let mut sum = _mm_setzero_si128();
            for (row, weights) in weights.iter().enumerate() {
                for lane in (0..ROW).step_by(LANES) {
                    let values = _mm_loadu_si128(window.as_ptr().add(row * stride + lane).cast::<__m128i>());
                    let weights = _mm_loadu_si128(weights.as_ptr().add(lane).cast::<__m128i>());
                    sum = _mm_add_epi32(sum, _mm_madd_epi16(values, weights));
                }
            }
            let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
            _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum)))
        }
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod machine {
    use std::arch::wasm32::{i32x4_add, i32x4_dot_i16x8, i32x4_extract_lane, i32x4_shuffle, i32x4_splat, v128, v128_load};

    use super::{LANES, ROW, ROWS};

    #[inline]
    pub fn dot(window: &[i16], stride: usize, weights: &[[i16; ROW]; ROWS]) -> i32 {
        assert!(window.len() >= (ROWS - 1) * stride + ROW);
        // SAFETY: WebAssembly loads need no alignment; each takes 8 values from `row * stride + lane` with lane <= ROW - 8, so the last
        // ends at `(ROWS - 1) * stride + ROW`, within `window` by the assertion, and within a row of `weights`.
        unsafe {
            let mut sum = i32x4_splat(0);
            for (row, weights) in weights.iter().enumerate() {
                for lane in (0..ROW).step_by(LANES) {
                    let values = v128_load(window.as_ptr().add(row * stride + lane).cast::<v128>());
                    let weights = v128_load(weights.as_ptr().add(lane).cast::<v128>());
                    sum = i32x4_add(sum, i32x4_dot_i16x8(values, weights));
                }
            }
            let sum = i32x4_add(sum, i32x4_shuffle::<2, 3, 0, 1>(sum, sum));
            i32x4_extract_lane::<0>(i32x4_add(sum, i32x4_shuffle::<1, 0, 3, 2>(sum, sum)))
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
mod machine {
    pub use super::portable as dot;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_machine_says_what_the_loop_says(
            values in proptest::collection::vec(0i16..=255, ROW * ROWS + 60),
            weights in proptest::collection::vec(-4095i16..=4095, ROW * ROWS),
            stride in ROW..ROW + 12,
        ) {
            let rows: [[i16; ROW]; ROWS] = std::array::from_fn(|r| std::array::from_fn(|i| weights[r * ROW + i]));
            prop_assert_eq!(score_of(&values, stride, &rows), Some(portable(&values, stride, &rows)));
        }

        #[test]
        fn a_window_past_the_end_has_no_score(len in 0usize..ROW * ROWS) {
            prop_assert_eq!(score_of(&vec![1; len], ROW, &[[1; ROW]; ROWS]), None);
        }
    }
}
