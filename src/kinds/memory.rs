//! What training may take of a computer's memory.

/// Bytes that the training of one model may take.
const MOST_MEMORY: f64 = 16e9;

/// Whether training takes no more memory than is asked for.
///
/// # Errors
/// How much it takes, in words.
pub(super) fn check_memory(bytes: f64) -> Result<(), String> {
    if bytes <= MOST_MEMORY {
        return Ok(());
    }
    let [takes, most] = [bytes, MOST_MEMORY].map(|bytes| bytes / 1e9);
    Err(format!("takes {takes:.0} GB of memory in training; at most {most:.0} GB are asked for: make it smaller"))
}
