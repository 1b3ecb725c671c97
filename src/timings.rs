//! Wall and CPU time of each step of a run, and the peak memory of the process.

use std::collections::BTreeMap;
use std::time::Instant;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use serde::{Deserialize, Serialize};

/// Time one step took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    /// Elapsed seconds.
    pub wall_s: f64,
    /// User and system seconds over all threads.
    pub cpu_s: f64,
}

/// Times of a run, by step; a step measured again adds up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings(BTreeMap<String, StepTime>);

impl Timings {
    /// Runs a step and adds its time.
    pub fn measure<T>(&mut self, step: &str, work: impl FnOnce() -> T) -> T {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let result = work();
        let time = self.0.entry(step.to_string()).or_default();
        time.wall_s += start.elapsed().as_secs_f64();
        time.cpu_s += cpu_seconds() - cpu;
        result
    }

    /// Adds the times of another run, step by step.
    pub fn add(&mut self, other: &Self) {
        for (step, time) in &other.0 {
            let sum = self.0.entry(step.clone()).or_default();
            sum.wall_s += time.wall_s;
            sum.cpu_s += time.cpu_s;
        }
    }

    /// Time of one step; zero if it was never measured.
    pub fn step(&self, name: &str) -> StepTime {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Steps and their times, by name.
    pub fn steps(&self) -> impl Iterator<Item = (&str, StepTime)> {
        self.0.iter().map(|(name, time)| (name.as_str(), *time))
    }
}

fn usage() -> Option<Usage> {
    getrusage(UsageWho::RUSAGE_SELF).ok()
}

fn cpu_seconds() -> f64 {
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
    usage().map_or(f64::NAN, |usage| seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Lets [`peak_memory_mb`] count from now on, where the system can (Linux); elsewhere it goes on from the process's start.
pub fn forget_peak_memory() {
    if cfg!(target_os = "linux") {
        // `5` resets the peak of the resident memory: man 5 proc_pid_clear_refs.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
}

/// Largest resident memory of the process so far, in units of 10^6 bytes; NaN where the system does not tell.
pub fn peak_memory_mb() -> f64 {
    // Linux counts in KiB, macOS in bytes.
    let unit = if cfg!(target_os = "macos") { 1.0 } else { 1024.0 };
    usage().map_or(f64::NAN, |usage| usage.max_rss() as f64 * unit / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_measured_twice_adds_up() {
        let mut timings = Timings::default();
        let spin = || (0..2_000_000_u64).fold(0, |sum: u64, i| std::hint::black_box(sum.wrapping_add(i)));
        timings.measure("spin", spin);
        let (_, once) = timings.steps().next().unwrap();
        timings.measure("spin", spin);
        let (_, twice) = timings.steps().next().unwrap();
        assert!(twice.wall_s > once.wall_s && once.wall_s > 0.0);
        assert!(peak_memory_mb() > 1.0);
        let mut sum = timings.clone();
        sum.add(&timings);
        assert_eq!(sum.step("spin").wall_s, 2.0 * timings.step("spin").wall_s);
        assert_eq!(sum.step("rest"), StepTime::default());
    }
}
