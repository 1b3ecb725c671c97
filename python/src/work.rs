//! Work away from Python: without its lock, on a thread of its own, while the caller's thread hands on what is said, how far it is, and
//! Ctrl-C.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use maury::device::start_threads;
use maury::progress::Progress;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::errors::{class, exception, named};

/// How long Python waits to hear from the work.
const PATIENCE: Duration = Duration::from_millis(50);

/// What was said and not yet handed on.
static SAID: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

/// Takes note of what the library says.
struct Notes;

impl<S: Subscriber> Layer<S> for Notes {
    fn on_event(&self, event: &Event, _: Context<S>) {
        let metadata = event.metadata();
        if metadata.target().starts_with("maury") && *metadata.level() <= Level::INFO {
            let mut message = Message::default();
            event.record(&mut message);
            lock(&SAID).push((*metadata.level(), message.0));
        }
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// What the work does at present.
#[derive(Default)]
struct Task {
    name: String,
    total: usize,
    /// Whether Python has not heard of it yet.
    is_new: bool,
}

/// Listens to the work, and tells it to stop.
#[derive(Default)]
struct Listener {
    task: Mutex<Task>,
    done: AtomicUsize,
    stop: AtomicBool,
    defers: AtomicBool,
}

/// What unwinds work that was asked to stop.
struct Stopped;

impl Listener {
    /// Ends the work here if it should stop, unless it prefers to be asked.
    fn give_way(&self) {
        if self.stop.load(Ordering::Relaxed) && !self.defers.load(Ordering::Relaxed) {
            resume_unwind(Box::new(Stopped));
        }
    }
}

impl Progress for Listener {
    fn start(&self, task: &str, total: usize) {
        self.give_way();
        *lock(&self.task) = Task { name: task.into(), total, is_new: true };
        self.done.store(0, Ordering::Relaxed);
    }

    fn advance(&self, steps: usize) {
        self.give_way();
        self.done.fetch_add(steps, Ordering::Relaxed);
    }

    fn defer_interruption(&self, defers: bool) {
        self.defers.store(defers, Ordering::Relaxed);
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Does some work. `told` is called with a task's name, its steps and those done, or is None; what is said goes to `logging` and
/// `warnings`; Ctrl-C ends it as soon as it tells how far it is.
///
/// # Errors
/// The exception of an error; KeyboardInterrupt; an exception that `told` raised.
pub fn work<T: Send>(
    py: Python,
    told: Option<&Bound<PyAny>>,
    act: impl FnOnce(&dyn Progress) -> maury::error::Result<T> + Send,
) -> PyResult<T> {
    static OWNER: OnceLock<u32> = OnceLock::new();
    let owner = *OWNER.get_or_init(|| {
        let _ = tracing_subscriber::registry().with(Notes).try_init();
        std::process::id()
    });
    if owner != std::process::id() {
        let said = "maury's threads do not live on in a forked process: start processes by multiprocessing.get_context(\"spawn\") or joblib, \
                    or fork before anything of maury is called";
        return Err(named(py, "MauryError", said.into()));
    }
    start_threads(0).map_err(|err| exception(&err))?;
    let listener = Listener::default();
    let (sender, receiver) = channel();
    let receiver = Mutex::new(receiver);
    let outcome = std::thread::scope(|scope| {
        let listener = &listener;
        scope.spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| act(listener)));
            // Nobody hangs up: the caller waits for this.
            let _ = sender.send(outcome);
        });
        let mut problem = None;
        loop {
            match py.detach(|| lock(&receiver).recv_timeout(PATIENCE)) {
                Ok(outcome) => break (Some(outcome), problem),
                Err(RecvTimeoutError::Disconnected) => break (None, problem),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let heard = py.check_signals().and_then(|()| hand_on(py, listener, told));
            if let Err(err) = heard {
                listener.stop.store(true, Ordering::Relaxed);
                problem.get_or_insert(err);
            }
        }
    });
    // Small work is over before anybody asked; what it said is heard all the same.
    let heard = hand_on(py, &listener, told);
    match outcome {
        (_, Some(problem)) => Err(problem),
        (Some(Ok(Ok(done))), None) => heard.map(|()| done),
        (Some(Ok(Err(err))), None) => Err(exception(&err)),
        (Some(Err(payload)), None) => Err(fault(py, &*payload)),
        (None, None) => Err(named(py, "MauryError", "the work ended without an answer; please report it".into())),
    }
}

/// What a fault of maury itself becomes.
fn fault(py: Python, payload: &(dyn Any + Send)) -> PyErr {
    if payload.is::<Stopped>() {
        return PyKeyboardInterrupt::new_err(());
    }
    let said = payload.downcast_ref::<&str>().map(|said| (*said).to_string());
    let said = said.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    named(py, "MauryError", format!("a fault of maury itself, please report it: {said}"))
}

/// Hands on what was said, and how far the work is.
fn hand_on(py: Python, listener: &Listener, told: Option<&Bound<PyAny>>) -> PyResult<()> {
    let said = std::mem::take(&mut *lock(&SAID));
    for (level, message) in said {
        if level == Level::INFO {
            py.import("logging")?.call_method1("getLogger", ("maury",))?.call_method1("info", ("%s", message))?;
        } else {
            let warn = py.import("warnings")?.getattr("warn")?;
            warn.call1((message, class(py, "MauryWarning")?, 2))?;
        }
    }
    let Some(told) = told else { return Ok(()) };
    let (name, total, is_new) = {
        let mut task = lock(&listener.task);
        (task.name.clone(), task.total, std::mem::take(&mut task.is_new))
    };
    if total > 0 {
        told.call1((name, total, listener.done.load(Ordering::Relaxed), is_new))?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
