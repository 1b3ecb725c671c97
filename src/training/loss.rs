//! Losses of estimated labels: missing labels do not count, and known label errors can.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::models::network::NetworkOutput;

/// `[models.<name>.network.loss]`, of residuals in units of the training labels' spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Loss {
    /// Squared residuals.
    Mse {},
    /// Squared up to `delta`, linear beyond: a wrong catalogue label pulls no harder than that (Huber 1964).
    Huber {
        /// Residual from which the loss is linear.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        delta: f64,
    },
    /// Normal likelihood with a variance of the network's own for every star and label (Nix & Weigend 1994).
    Gaussian {},
}

impl Default for Loss {
    fn default() -> Self {
        Self::Huber { delta: 0.3 }
    }
}

/// Labels to learn, as tensors.
#[derive(Debug, Clone)]
pub struct Targets {
    /// Scaled labels, [n_stars, n_labels]; anything finite where missing.
    pub labels: Tensor<2>,
    /// 1 where a label is known, 0 where it is missing, [n_stars, n_labels].
    pub known: Tensor<2>,
    /// Variance of the catalogue's error of each scaled label, [n_stars, n_labels]; 0 where not to be used.
    pub variance: Tensor<2>,
}

impl Loss {
    /// Whether the network must give variances.
    pub fn needs_variance(&self) -> bool {
        matches!(self, Self::Gaussian {})
    }

    /// Mean over all known labels.
    ///
    /// ```text
    /// mse       w r^2
    /// huber     w (r^2 / 2            if |r| < delta, else delta (|r| - delta / 2))
    /// gaussian  (r^2 / (v + e^2) + ln(v + e^2)) / 2
    /// ```
    /// with e the catalogue's error, v the network's variance, and w = 1 / (1 + e^2 / q^2): a label with an error like
    /// that of the loss's own scale q (`delta`, or 0.1) counts half.
    ///
    /// # Shapes
    /// - output: `[1]`
    pub fn mean(&self, output: NetworkOutput, targets: Targets) -> Tensor<1> {
        /// Scale of residuals against which label errors are weighed where the loss has none of its own.
        const QUIET: f64 = 0.1;
        let residual = output.labels - targets.labels;
        let weighed = |scale: f64| targets.known.clone() / (targets.variance.clone() / (scale * scale) + 1.0);
        let each = match *self {
            Self::Mse {} => residual.powf_scalar(2.0) * weighed(QUIET),
            Self::Huber { delta } => {
                let size = residual.abs();
                let near = size.clone().clamp_max(delta);
                (near.clone() * (size - near * 0.5)) * weighed(delta)
            }
            Self::Gaussian {} => {
                let own = output.ln_variance.expect("the network was made to give variances");
                let variance = own.exp() + targets.variance;
                (residual.powf_scalar(2.0) / variance.clone() + variance.log()) * 0.5 * targets.known.clone()
            }
        };
        each.sum() / targets.known.sum().clamp_min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Compute, Precision, to_f64};

    /// One star, two labels: residuals 0.5 and -2 (in units of their spread), the second label's variance as given.
    fn mean(loss: Loss, known: [f64; 2], variance: [f64; 2]) -> f64 {
        let compute = Compute::flex(Precision::F64);
        let tensor = |values: [f64; 2]| compute.tensor(&values, [1, 2]);
        let ln_variance = loss.needs_variance().then(|| tensor([0.0, 4_f64.ln()]));
        let output = NetworkOutput { labels: tensor([1.5, -1.0]), ln_variance };
        let targets = Targets { labels: tensor([1.0, 1.0]), known: tensor(known), variance: tensor(variance) };
        to_f64(loss.mean(output, targets))[0]
    }

    #[test]
    fn losses_are_the_formulas_written_out() {
        let none = [0.0, 0.0];
        assert!((mean(Loss::Mse {}, [1.0, 1.0], none) - (0.25 + 4.0) / 2.0).abs() < 1e-12);
        let huber = (0.5 * (0.5 - 0.25) + 1.0 * (2.0 - 0.5)) / 2.0;
        assert!((mean(Loss::Huber { delta: 1.0 }, [1.0, 1.0], none) - huber).abs() < 1e-12);
        let gaussian = 0.5 * (0.25 + (4.0 / 4.0 + 4_f64.ln())) / 2.0;
        assert!((mean(Loss::Gaussian {}, [1.0, 1.0], none) - gaussian).abs() < 1e-12);
    }

    #[test]
    fn missing_labels_do_not_count_and_uncertain_ones_count_less() {
        for loss in [Loss::Mse {}, Loss::Huber { delta: 1.0 }, Loss::Gaussian {}] {
            let one = mean(loss, [1.0, 0.0], [0.0, 0.0]);
            assert_eq!(one, mean(loss, [1.0, 0.0], [0.0, 9.0]));
            let sure = mean(loss, [0.0, 1.0], [0.0, 0.0]);
            assert!(loss.needs_variance() || mean(loss, [0.0, 1.0], [0.0, 1.0]) < sure);
            assert_eq!(mean(loss, [0.0, 0.0], [0.0, 0.0]), 0.0);
        }
        let wide = 0.5 * (4.0 / 5.0 + 5_f64.ln());
        assert!((mean(Loss::Gaussian {}, [0.0, 1.0], [0.0, 1.0]) - wide).abs() < 1e-12);
    }
}
