//! The compute device: a name in TOML becomes a Burn [`Device`]; the only file that names a backend.

#[cfg(feature = "wgpu")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Bool, DType, Device, DeviceConfig, FloatDType, Int, Tensor, TensorData};
use ndarray::{Array2, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::schema;

/// Version of Burn this build computes with; pinned in Cargo.toml.
pub const BURN_VERSION: &str = "0.22.1";

/// Burn backends maury can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
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

impl Backend {
    /// Its name in TOML and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Tch => "tch",
            Self::TchCuda => "tch-cuda",
        }
    }

    fn refused(self, detail: impl Into<String>) -> Error {
        Error::Device { device: self.name().into(), detail: detail.into() }
    }
}

/// Width of the floating-point numbers in every tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32 bits: twice as fast; training refines its solutions so that labels agree with f64 far below their errors.
    #[default]
    F32,
    /// 64 bits: for checks.
    F64,
}

/// `[device]` of an experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceSettings {
    /// Which backend computes.
    pub backend: Backend,
    /// Floating-point width.
    pub precision: Precision,
    /// CPU threads; 0 means all cores.
    #[schemars(range(max = MOST_THREADS))]
    pub threads: usize,
    /// Memory that may be taken by what grows with the stars. A set whose spectra take more than a quarter of it stays in its file: Cannons
    /// then learn from blocks of pixels, networks and ridges from batches of stars, and every model labels batches of stars. Models that
    /// learn from all spectra at once, or keep too much of every star beside them, are refused where these do not fit.
    pub memory: Memory,
}

/// More threads than this no machine has, and starting them takes longer than any work.
pub const MOST_THREADS: usize = 1024;

/// A device together with the precision in which all tensors on it are made.
#[derive(Debug, Clone)]
pub struct Compute {
    backend: Backend,
    device: Device,
    dtype: DType,
    memory: Memory,
}

impl Compute {
    /// The default device in the given precision, without touching process-wide defaults; what tests and benches use.
    pub fn flex(precision: Precision) -> Self {
        Self { backend: Backend::Flex, device: Device::flex(), dtype: dtype(precision), memory: Memory::default() }
    }

    /// As [`Compute::flex`], on any backend.
    ///
    /// # Errors
    /// [`Error::BackendNotCompiled`] with the rebuild command; [`Error::Device`] if there is no such device here, or it
    /// cannot compute in this precision.
    pub fn on(backend: Backend, precision: Precision) -> Result<Self> {
        let device = open_backend(backend)?;
        let dtype = dtype(precision);
        // Shaders have no logarithm and no exponential in f64; what they return in their place is silently wrong.
        if !device.supports_dtype(dtype) || (backend == Backend::Wgpu && precision == Precision::F64) {
            return Err(backend.refused("it cannot compute in f64; set device.precision = \"f32\""));
        }
        Ok(Self { backend, device, dtype, memory: Memory::default() })
    }

    /// Opens the configured device and makes its precision and threads the process-wide defaults.
    ///
    /// # Errors
    /// As [`Compute::on`]; [`Error::Config`] for settings that make no sense.
    pub fn open(settings: &DeviceSettings) -> Result<Self> {
        schema::check(settings).map_err(|(key, problem)| Error::Config(format!("device.{key} {problem}")))?;
        start_threads(settings.threads)?;
        #[cfg(feature = "tch")]
        if settings.threads > 0 {
            tch::set_num_threads(i32::try_from(settings.threads).unwrap_or(i32::MAX));
        }
        let mut compute = Self::on(settings.backend, settings.precision)?.with_memory(settings.memory);
        let float = match settings.precision {
            Precision::F32 => FloatDType::F32,
            Precision::F64 => FloatDType::F64,
        };
        if compute.device.settings().float_dtype != float {
            let config = DeviceConfig::default().float_dtype(float);
            compute.device.configure(config).map_err(|err| settings.backend.refused(err.to_string()))?;
        }
        Ok(compute)
    }

    /// Where many small systems are solved: on the CPU in f64, whatever computes the large products. f64 costs nothing
    /// there, not every GPU has it, and a GPU would wait longer for each of the many small steps than compute.
    pub fn small_systems() -> Self {
        Self::flex(Precision::F64)
    }

    /// The CPU in the same precision.
    pub fn on_cpu(&self) -> Self {
        Self { backend: Backend::Flex, device: Device::flex(), ..self.clone() }
    }

    /// A copy of a tensor here, in this precision, wherever it was.
    pub fn bring<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        self.upload(tensor.into_data().convert_dtype(self.dtype))
    }

    /// The Burn device itself.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The same, where other memory may be taken by what grows with the stars.
    #[must_use]
    pub fn with_memory(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    /// Memory that may be taken by what grows with the stars.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// Element type of float tensors.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The same device, recording operations for automatic differentiation.
    pub fn autodiff(&self) -> Self {
        Self { device: self.device.clone().autodiff(), ..self.clone() }
    }

    /// A float tensor from a matrix of host numbers, rounded once to this precision.
    pub fn matrix(&self, values: ArrayView2<f64>) -> Tensor<2> {
        let flat: Vec<f64> = values.iter().copied().collect();
        self.tensor(&flat, [values.nrows(), values.ncols()])
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

    /// Maps items on all threads of the current pool, each item's own tensor operations on one thread.
    pub fn each_on_its_own_thread<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(items.len()));
        let worker = || {
            while let Some((index, item)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, items.get(i)?)))
            {
                let result = work(item);
                done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
            }
        };
        let spawn = || {
            std::thread::scope(|scope| {
                let alone = || match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
                    Ok(alone) => alone.install(worker),
                    Err(_) => worker(),
                };
                let n_threads = rayon::current_num_threads().min(items.len());
                let started = (0..n_threads).filter(|_| std::thread::Builder::new().spawn_scoped(scope, alone).is_ok());
                if started.count() == 0 {
                    worker();
                }
            });
        };
        match self.backend {
            // libtorch would start its own threads for each of ours.
            #[cfg(feature = "tch")]
            Backend::Tch => {
                let threads = tch::get_num_threads();
                tch::set_num_threads(1);
                spawn();
                tch::set_num_threads(threads);
            }
            _ => spawn(),
        }
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, result)| result).collect()
    }

    fn upload<const D: usize>(&self, data: TensorData) -> Tensor<D> {
        Tensor::from_data(data, (&self.device, self.dtype))
    }
}

/// Starts the threads on which everything is computed; 0 means as many as RAYON_NUM_THREADS says, or Slurm gave the task, or all cores. A
/// second call (one process, two runs) keeps the first.
///
/// # Errors
/// [`Error::Device`] where the system gives none: it would be too late to say so in the middle of the work.
pub fn start_threads(threads: usize) -> Result<()> {
    // A node that binds no task to its cores shows all of them to each.
    let of_slurm = || std::env::var("SLURM_CPUS_PER_TASK").ok().and_then(|threads| threads.parse().ok()).unwrap_or(0);
    let is_told = threads > 0 || std::env::var_os("RAYON_NUM_THREADS").is_some();
    let threads = if is_told { threads } else { of_slurm() };
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        Err(err) if std::error::Error::source(&err).is_some() => Err(Error::Device {
            device: "CPU".into(),
            detail: format!(
                "the system starts no more threads ({err}); a limit of memory (`ulimit -v`) or of processes (`ulimit -u`) is too \
                 low for this, or device.threads too high"
            ),
        }),
        _ => Ok(()),
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
    #[allow(unreachable_patterns)] // with every feature there is nothing left to refuse
    match backend {
        Backend::Flex => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        Backend::Ndarray => Ok(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        Backend::Wgpu => open_wgpu(),
        #[cfg(feature = "tch")]
        Backend::Tch => Ok(Device::libtorch()),
        #[cfg(feature = "tch")]
        Backend::TchCuda if !tch::Cuda::is_available() => {
            Err(backend.refused("this libtorch finds no CUDA GPU; set device.backend = \"tch\" for its CPU half"))
        }
        #[cfg(feature = "tch")]
        Backend::TchCuda => Ok(Device::libtorch_cuda(0)),
        other => {
            let feature = if other == Backend::TchCuda { "tch" } else { other.name() };
            Err(Error::BackendNotCompiled { backend: other.name(), feature })
        }
    }
}

/// The process's one wgpu device: its runtime can be started only once, and asked this way a machine without an adapter
/// gets an answer, not a panic.
#[cfg(feature = "wgpu")]
fn open_wgpu() -> Result<Device> {
    static DEVICE: OnceLock<std::result::Result<Device, String>> = OnceLock::new();
    let device = DEVICE.get_or_init(|| {
        let (device, setup) = Device::wgpu_options().init_with_setup().map_err(|err| err.to_string())?;
        let adapter = setup.adapter.get_info();
        tracing::info!("wgpu: {} ({})", adapter.name, adapter.backend);
        Ok(device)
    });
    device.clone().map_err(|said| {
        Backend::Wgpu.refused(format!(
            "{said}; install the GPU's Vulkan driver (or mesa-vulkan-drivers, which computes on the CPU), or set \
             device.backend = \"flex\""
        ))
    })
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

/// Host copy of a matrix as f64, whatever its precision.
pub fn to_array(matrix: Tensor<2>) -> Array2<f64> {
    let [n_rows, n_columns] = matrix.dims();
    Array2::from_shape_vec((n_rows, n_columns), to_f64(matrix)).expect("a tensor has its shape")
}

/// Host copy of a boolean tensor, row-major.
pub fn to_bool<const D: usize>(tensor: Tensor<D, Bool>) -> Vec<bool> {
    tensor.into_data().iter::<bool>().collect()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn a_backend_is_called_by_the_same_name_everywhere() {
        for backend in Backend::value_variants() {
            assert_eq!(serde_json::to_value(backend).unwrap(), backend.name());
            assert_eq!(backend.to_possible_value().unwrap().get_name(), backend.name());
        }
    }

    #[test]
    fn a_tensor_brought_to_another_precision_keeps_its_numbers() {
        let narrow = Compute::flex(Precision::F32).tensor(&[1.0 / 3.0, -2.0], [1, 2]);
        let wide = Compute::small_systems().bring(narrow);
        assert_eq!((wide.dtype(), wide.dims()), (DType::F64, [1, 2]));
        assert_eq!(to_f64(wide), [f64::from(1.0_f32 / 3.0), -2.0]);
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
