//! The column of a table that a name means.

use std::path::Path;

use crate::error::{Error, Result, nearest_name};

/// The column of `names` spelt `wanted`, in any case where none is spelt just so; or an error naming the columns nearest to it.
///
/// # Errors
/// [`Error::MissingColumn`]; [`Error::Format`] where several are called so.
pub fn find_column<'a>(path: &Path, names: &'a [String], wanted: &str, remedy: &'static str) -> Result<&'a str> {
    let alike = |(_, name): &(usize, &String)| name.eq_ignore_ascii_case(wanted);
    let mut alike: Vec<(usize, &String)> = names.iter().enumerate().filter(alike).collect();
    if alike.iter().any(|(_, name)| *name == wanted) {
        alike.retain(|(_, name)| *name == wanted);
    }
    match alike.as_slice() {
        [] => {}
        [(_, name)] => return Ok(name),
        several => {
            let places: Vec<String> = several.iter().map(|(n, name)| format!("{} ({name})", n + 1)).collect();
            let detail =
                format!("columns {} share the name {wanted}; call all but one otherwise", places.join(" and "));
            return Err(Error::format(path, detail));
        }
    }
    let mut found: Vec<&str> = names.iter().map(String::as_str).take(8).collect();
    if let Some(near) = nearest_name(wanted, names.iter().map(String::as_str)) {
        found.retain(|name| *name != near);
        found.insert(0, near);
    }
    let more = if names.len() > found.len() { ", ..." } else { "" };
    Err(Error::MissingColumn {
        path: path.to_path_buf(),
        column: spelt_as(names, wanted),
        found: found.join(", ") + more,
        remedy,
    })
}

/// A name that is shouted where the table's own are not, as those would be spelt.
fn spelt_as(names: &[String], wanted: &str) -> String {
    let is_quiet = |name: &str| !name.chars().any(|c| c.is_ascii_uppercase());
    let is_shouted = !wanted.chars().any(|c| c.is_ascii_lowercase());
    let all_quiet = !names.is_empty() && names.iter().all(|name| is_quiet(name));
    if is_shouted && all_quiet { wanted.to_lowercase() } else { wanted.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_column_names_its_neighbours() {
        let names = ["FE_H_ERR", "M_H", "TEFF"].map(String::from);
        let message = find_column(Path::new("allStar.fits"), &names, "FE_H", "is this an allStar table?")
            .unwrap_err()
            .to_string();
        assert_eq!(message, "allStar.fits: no column FE_H (it has FE_H_ERR, M_H, TEFF); is this an allStar table?");
        assert_eq!(find_column(Path::new("x"), &names, "teff", "").unwrap(), "TEFF");
        let quiet = ["teff", "logg"].map(String::from);
        let message = |wanted: &str| find_column(Path::new("x"), &quiet, wanted, "").unwrap_err().to_string();
        assert!(message("SNR").contains("no column snr (it has"), "{}", message("SNR"));
        assert!(message("SnR").contains("no column SnR"), "{}", message("SnR"));
    }
}
