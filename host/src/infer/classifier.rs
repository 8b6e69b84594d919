//! Reading a classifier's output: one number per label for the whole frame. Pure.

use super::model::Activation;

/// Confidences of 0..=1 in the labels' order. What is not a number counts as 0.
pub fn probabilities(activation: Activation, output: &[f32]) -> Vec<f32> {
    let raw: Vec<f32> = match activation {
        Activation::None => output.to_vec(),
        Activation::Sigmoid => output.iter().map(|value| 1.0 / (1.0 + (-value).exp())).collect(),
        Activation::Softmax => {
            // Shifted by the largest, so that no exponential overflows.
            let largest = output.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let exponentials: Vec<f32> = output.iter().map(|value| (value - largest).exp()).collect();
            let sum: f32 = exponentials.iter().sum();
            exponentials.into_iter().map(|value| value / sum).collect()
        }
    };
    raw.into_iter().map(|value| if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_turn_outputs_into_confidences() {
        assert_eq!(probabilities(Activation::None, &[0.25, 1.5, -1.0, f32::NAN]), [0.25, 1.0, 0.0, 0.0]);
        assert_eq!(probabilities(Activation::Sigmoid, &[0.0, 1000.0, -1000.0]), [0.5, 1.0, 0.0]);
        let soft = probabilities(Activation::Softmax, &[1000.0, 1000.0, 0.0]);
        assert_eq!(soft, [0.5, 0.5, 0.0]);
    }
}
