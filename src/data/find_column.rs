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
        column: wanted.into(),
        found: found.join(", ") + more,
        remedy,
    })
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
    }
}
