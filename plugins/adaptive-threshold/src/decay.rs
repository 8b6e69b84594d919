//! Exponential decay in arithmetic that every machine rounds alike: multiplication and square root, no `exp`.

/// Bits of the half-life's fraction that are honoured; 2^-16 of a half-life is below what an `f32` threshold shows.
const FRACTION_BITS: u32 = 16;

/// 2^(-elapsed / half_life), in 0..=1. A half-life of zero forgets at once.
pub fn remaining(elapsed_us: u64, half_life_us: u64) -> f64 {
    if elapsed_us == 0 {
        return 1.0;
    }
    if half_life_us == 0 || elapsed_us / half_life_us >= 64 {
        return 0.0;
    }
    let halvings = elapsed_us / half_life_us;
    let rest = u128::from(elapsed_us % half_life_us);
    let fraction = (rest << FRACTION_BITS) / u128::from(half_life_us);
    let mut factor = 1.0 / (1u64 << halvings) as f64;
    // Bit 15 of the fraction stands for half a halving, bit 14 for a quarter, and so on: each a square root of the last.
    let mut step = 0.5f64;
    for bit in (0..FRACTION_BITS).rev() {
        step = step.sqrt();
        if fraction >> bit & 1 == 1 {
            factor *= step;
        }
    }
    factor
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_half_life_leaves_a_half() {
        assert_eq!(remaining(0, 10), 1.0);
        assert_eq!(remaining(10, 10), 0.5);
        assert_eq!(remaining(30, 10), 0.125);
        assert!((remaining(5, 10) - 0.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(remaining(1, 0), 0.0);
        assert_eq!(remaining(u64::MAX, 1), 0.0);
    }

    proptest! {
        #[test]
        fn follows_the_exponential_and_never_rises(elapsed in 0u64..1 << 40, later in 0u64..1 << 40, half_life in 1u64..1 << 40) {
            let here = remaining(elapsed, half_life);
            let exact = 2f64.powf(-(elapsed as f64 / half_life as f64));
            prop_assert!((here - exact).abs() < 2e-5, "{here} against {exact}");
            prop_assert!(remaining(elapsed.saturating_add(later), half_life) <= here + 1e-12);
        }
    }
}
