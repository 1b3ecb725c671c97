//! The compute device: a name in TOML becomes a Burn [`Device`]; the only file that names a backend.

use burn::tensor::{Bool, DType, Device, DeviceConfig, FloatDType, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Version of Burn this build computes with; pinned in Cargo.toml.
pub const BURN_VERSION: &str = "0.22.1";

/// Burn backends maury can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Burn's own CPU backend, always compiled in.
    #[default]
    Flex,
    /// CPU through the `ndarray` crate (cargo feature `ndarray`).
    Ndarray,
    /// GPU (or software Vulkan) through WebGPU (cargo feature `wgpu`).
    Wgpu,
    /// libtorch on the CPU (cargo feature `tch`; needs the LIBTORCH folder).
    Tch,
    /// libtorch on an NVIDIA GPU (cargo feature `tch`; needs a CUDA libtorch).
    TchCuda,
}

/// Width of the floating-point numbers in every tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32 bits: twice as fast; training refines its solutions so that labels agree with f64 far below their errors.
    #[default]
    F32,
    /// 64 bits: for checks.
    F64,
}

/// `[device]` of an experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceSettings {
    /// Which backend computes.
    pub backend: Backend,
    /// Floating-point width.
    pub precision: Precision,
    /// CPU threads; 0 means all cores.
    pub threads: usize,
}

/// A device together with the precision in which all tensors on it are made.
#[derive(Debug, Clone)]
pub struct Compute {
    device: Device,
    dtype: DType,
}

impl Compute {
    /// The default device in the given precision, without touching process-wide defaults; what tests and benches use.
    pub fn flex(precision: Precision) -> Self {
        Self { device: Device::flex(), dtype: dtype(precision) }
    }

    /// Opens the configured device and makes its precision the process-wide default.
    ///
    /// # Errors
    /// [`Error::BackendNotCompiled`] with the rebuild command; [`Error::Device`] if the device cannot compute in this
    /// precision.
    pub fn open(settings: &DeviceSettings) -> Result<Self> {
        if settings.threads > 0 {
            // A second call (one process, two runs) keeps the first pool: harmless, so the answer is ignored.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(settings.threads).build_global();
        }
        let mut device = open_backend(settings.backend)?;
        let dtype = dtype(settings.precision);
        let refused =
            |detail: String| Error::Device { device: format!("{:?}", settings.backend).to_lowercase(), detail };
        if !device.supports_dtype(dtype) {
            return Err(refused("it cannot compute in f64; set device.precision = \"f32\"".into()));
        }
        let float = match settings.precision {
            Precision::F32 => FloatDType::F32,
            Precision::F64 => FloatDType::F64,
        };
        if device.settings().float_dtype != float {
            device.configure(DeviceConfig::default().float_dtype(float)).map_err(|err| refused(format!("{err:?}")))?;
        }
        Ok(Self { device, dtype })
    }

    /// The Burn device itself.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Element type of float tensors.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Element type for small systems that deserve it: f64 where the device has it.
    pub fn wide_dtype(&self) -> DType {
        if self.device.supports_dtype(DType::F64) { DType::F64 } else { self.dtype }
    }

    /// The same device, recording operations for automatic differentiation.
    pub fn autodiff(&self) -> Self {
        Self { device: self.device.clone().autodiff(), dtype: self.dtype }
    }

    /// A float tensor from host numbers (row-major), rounded once to this precision.
    pub fn tensor<const D: usize>(&self, values: &[f64], shape: [usize; D]) -> Tensor<D> {
        match self.dtype {
            DType::F64 => self.upload(TensorData::new(values.to_vec(), shape)),
            _ => self.upload(TensorData::new(values.iter().map(|v| *v as f32).collect::<Vec<f32>>(), shape)),
        }
    }

    /// A float tensor from host f32 numbers (row-major).
    pub fn tensor_f32<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        match self.dtype {
            DType::F64 => self.upload(TensorData::new(values.into_iter().map(f64::from).collect::<Vec<f64>>(), shape)),
            _ => self.upload(TensorData::new(values, shape)),
        }
    }

    /// An index tensor on this device.
    pub fn indices(&self, values: &[usize]) -> Tensor<1, Int> {
        indices(values, &self.device)
    }

    fn upload<const D: usize>(&self, data: TensorData) -> Tensor<D> {
        Tensor::from_data(data, (&self.device, self.dtype))
    }
}

fn dtype(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::F64 => DType::F64,
    }
}

#[cfg_attr(any(feature = "ndarray", feature = "tch"), allow(deprecated))] // kept for users who need them (Burn 0.22)
fn open_backend(backend: Backend) -> Result<Device> {
    match backend {
        Backend::Flex => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        Backend::Ndarray => Ok(Device::ndarray()),
        #[cfg(not(feature = "ndarray"))]
        Backend::Ndarray => Err(Error::BackendNotCompiled { backend: "ndarray" }),
        #[cfg(feature = "wgpu")]
        Backend::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(not(feature = "wgpu"))]
        Backend::Wgpu => Err(Error::BackendNotCompiled { backend: "wgpu" }),
        #[cfg(feature = "tch")]
        Backend::Tch => Ok(Device::libtorch()),
        #[cfg(feature = "tch")]
        Backend::TchCuda => Ok(Device::libtorch_cuda(0)),
        #[cfg(not(feature = "tch"))]
        Backend::Tch | Backend::TchCuda => Err(Error::BackendNotCompiled { backend: "tch" }),
    }
}

/// An index tensor, for selecting rows or columns of tensors on a device.
pub fn indices(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|value| *value as i32).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// Host copy of a float tensor as f64, row-major, whatever its precision.
pub fn to_f64<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let data = tensor.into_data();
    data.iter::<f64>().collect()
}

/// Host copy of a boolean tensor, row-major.
pub fn to_bool<const D: usize>(tensor: Tensor<D, Bool>) -> Vec<bool> {
    tensor.into_data().iter::<bool>().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_is_not_compiled_in_names_the_rebuild_command() {
        if cfg!(feature = "wgpu") {
            return;
        }
        let settings = DeviceSettings { backend: Backend::Wgpu, ..Default::default() };
        let message = Compute::open(&settings).unwrap_err().to_string();
        assert!(message.contains("cargo build --release --features wgpu"), "{message}");
    }

    #[test]
    fn tensors_keep_the_precision_asked_for() {
        for (precision, relative) in [(Precision::F32, 1e-7), (Precision::F64, 1e-16)] {
            let compute = Compute::flex(precision);
            let third = to_f64(compute.tensor(&[1.0 / 3.0], [1]))[0];
            assert!((third - 1.0 / 3.0).abs() <= relative, "{precision:?}: {third}");
        }
    }
}
