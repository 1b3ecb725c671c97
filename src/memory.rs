//! How much memory a run may take for what grows with its stars.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Units, largest first.
const UNITS: [(&str, u64); 4] = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
/// Less than this holds no block of spectra.
const LEAST: u64 = 10_000_000;

/// An amount of memory, `"4GB"` in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory {
    /// Bytes of it.
    pub bytes: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { bytes: 16_000_000_000 }
    }
}

impl Memory {
    /// Bytes of spectra up to which a whole set is held in memory; a larger one stays in its file. Training and labelling take as much
    /// again for the stars at hand, and more for what they make of them.
    pub fn of_spectra(self) -> u64 {
        self.bytes / 4
    }

    /// Bytes of spectra, those of a set in a file, that are read at once to learn from.
    pub fn of_block(self) -> u64 {
        self.bytes / 8
    }

    /// Bytes that training may keep of every star beside its spectrum, and work with.
    pub fn of_work(self) -> u64 {
        self.bytes / 2
    }

    /// Whether so many bytes are no more than this.
    ///
    /// # Errors
    /// How much they are and what is allowed, in words that go on after what takes them.
    pub fn check(self, bytes: f64) -> Result<(), String> {
        if bytes <= self.bytes as f64 {
            return Ok(());
        }
        Err(format!("takes {} of memory where device.memory = \"{self}\" is allowed", amount(bytes)))
    }

    /// Whether training that keeps so many bytes of every star beside its spectrum can keep them.
    ///
    /// # Errors
    /// As [`Memory::check`], with the remedy, which may be `fewer` of something.
    pub fn check_kept(self, n_stars: usize, bytes_of_star: usize, fewer: &str) -> Result<(), String> {
        let share = self.bytes as f64 / self.of_work() as f64;
        let kept = n_stars as f64 * bytes_of_star as f64;
        let takes = self.check(share * kept);
        takes.map_err(|takes| {
            format!(
                "keeps {} of {n_stars} stars beside their spectra, which with its work {takes}: allow more where there is more, or \
                 give fewer training stars (the experiment's max_training_stars){fewer}",
                amount(kept)
            )
        })
    }

    /// Whether spectra can be learned from all at once, and what training makes of them be held beside.
    ///
    /// # Errors
    /// As [`Memory::check`], with the remedy.
    pub fn check_whole(self, n_stars: usize, n_pixels: usize) -> Result<(), String> {
        /// What is held in training, as a multiple of the spectra.
        const WITH_WORK: f64 = 3.0;
        let remedy = "allow more where there is more, give fewer training stars (the experiment's max_training_stars), or take a model \
                      that learns from blocks: a Cannon, a ridge, a network without lbfgs";
        let takes = self.check(WITH_WORK * bytes_of_spectra(n_stars, n_pixels) as f64);
        takes.map_err(|takes| format!("works on {n_stars} spectra at once, which {takes}: {remedy}"))
    }
}

/// Bytes in words.
fn amount(bytes: f64) -> String {
    if bytes < 1e9 { format!("{:.1} MB", bytes / 1e6) } else { format!("{:.2} GB", bytes / 1e9) }
}

/// Bytes of flux and inverse variance, [n_stars, n_pixels], 32 bits each.
pub fn bytes_of_spectra(n_stars: usize, n_pixels: usize) -> u64 {
    2 * size_of::<f32>() as u64 * n_stars as u64 * n_pixels as u64
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = UNITS.into_iter().find(|(_, size)| self.bytes.is_multiple_of(*size)).unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.bytes / size)
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            || format!("\"{text}\" is no amount of memory that would do: write \"4GB\" or \"800MB\", at least 10MB");
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(refused)?;
        let (number, unit) = text.split_at(end);
        let number: f64 = number.parse().map_err(|_| refused())?;
        let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()));
        let bytes = known.map(|(_, size)| number * *size as f64).ok_or_else(refused)?.round();
        if (LEAST as f64..1e18).contains(&bytes) { Ok(Self { bytes: bytes as u64 }) } else { Err(refused()) }
    }
}

impl TryFrom<String> for Memory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> Self {
        memory.to_string()
    }
}

impl JsonSchema for Memory {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Memory".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^[0-9.]+ *([TtGgMmKk][Bb])$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them_and_written_as_they_are_read() {
        for (text, bytes, written) in [
            ("4GB", 4e9, "4GB"),
            ("1.5TB", 1.5e12, "1500GB"),
            ("0.5 gb", 5e8, "500MB"),
            ("1500MB", 1.5e9, "1500MB"),
            ("123456kB", 123_456_000.0, "123456kB"),
        ] {
            let memory: Memory = text.parse().unwrap();
            assert_eq!((memory.bytes as f64, memory.to_string().as_str()), (bytes, written));
        }
        for text in ["", "4", "GB", "-4GB", "1e3GB", "..GB", "9MB", "9999999999999GB"] {
            assert!(text.parse::<Memory>().unwrap_err().contains("write \"4GB\""), "{text}");
        }
        assert!(Memory::default().check(1.6e10).is_ok());
        assert!(Memory::default().check(1.7e10).unwrap_err().contains("takes 17.00 GB"));
        assert!(Memory::default().check_kept(1_000_000, 8000, "").is_ok());
        let said = Memory::default().check_kept(1_000_000, 9000, " or spectra").unwrap_err();
        assert!(said.contains("keeps 9.00 GB of 1000000 stars") && said.contains("takes 18.00 GB"), "{said}");
        assert!(Memory::default().check_whole(70_000, 8575).is_ok());
        // 16 GB by 24 bytes of 8575 pixels.
        let most = 77_745;
        assert!(
            Memory::default().check_whole(most, 8575).is_ok() && Memory::default().check_whole(most + 1, 8575).is_err()
        );
        assert!(Memory::default().check_whole(80_000, 8575).unwrap_err().contains("works on 80000 spectra at once"));
    }
}
