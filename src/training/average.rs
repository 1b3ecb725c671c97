//! All weights of a module at once: averaged over epochs, and listed by name.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::device::to_f64;

/// The running mean of a module's weights (stochastic weight averaging, Izmailov et al. 2018, UAI).
#[derive(Debug, Clone)]
pub(super) struct Average<M> {
    /// The module with mean weights.
    pub module: M,
    /// Modules it is the mean of.
    pub n_modules: usize,
}

impl<M: Module> Average<M> {
    /// The mean with one module more; both on the same device.
    pub fn updated(average: Option<Self>, module: &M) -> Self {
        let Some(Self { module: mean, n_modules }) = average else {
            return Self { module: module.clone(), n_modules: 1 };
        };
        let mut weights = Flattened::default();
        module.visit(&mut weights);
        let share = 1.0 / (n_modules + 1) as f64;
        let module = mean.map(&mut Towards { weights: weights.tensors.into_iter(), share });
        Self { module, n_modules: n_modules + 1 }
    }
}

#[derive(Default)]
struct Flattened {
    tensors: Vec<Tensor<1>>,
}

impl ModuleVisitor for Flattened {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.tensors.push(param.val().flatten(0, D - 1));
    }
}

struct Towards {
    weights: std::vec::IntoIter<Tensor<1>>,
    share: f64,
}

impl ModuleMapper for Towards {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let weights = self.weights.next().expect("both modules are of one kind");
        let share = self.share;
        param.map(|mean| {
            let weights = weights.reshape(mean.dims());
            mean.clone() + (weights - mean) * share
        })
    }
}

/// Names and values of all weights of a module.
pub(super) fn named_weights<M: Module>(module: &M) -> Vec<(String, Vec<f64>)> {
    #[derive(Default)]
    struct Names {
        path: Vec<String>,
        weights: Vec<(String, Vec<f64>)>,
    }
    impl ModuleVisitor for Names {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.weights.push((self.path.join("."), to_f64(param.val())));
        }
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_string());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
    }
    let mut names = Names::default();
    module.visit(&mut names);
    names.weights
}
