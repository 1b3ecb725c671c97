//! The way from a folder to a file, for pages that lead on to what lies beside them.

use std::path::Path;

/// The way from a folder to a file or folder, with `/` between its parts; none where one of them is not there.
pub fn relative_path(folder: &Path, to: &Path) -> Option<String> {
    let (folder, to) = (std::fs::canonicalize(folder).ok()?, std::fs::canonicalize(to).ok()?);
    let n_shared = folder.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(n_shared).map(|_| "..".to_string());
    let down = to.components().skip(n_shared).map(|part| part.as_os_str().to_string_lossy().into_owned());
    Some(up.chain(down).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_from_the_folder_of_a_page() {
        let root = tempfile::tempdir().unwrap();
        let (folder, data) = (root.path().join("experiments/a/run"), root.path().join("data"));
        for path in [&folder, &data] {
            std::fs::create_dir_all(path).unwrap();
        }
        std::fs::write(data.join("a star.fits"), "").unwrap();
        assert_eq!(relative_path(&folder, &data.join("a star.fits")).unwrap(), "../../../data/a star.fits");
        assert_eq!(relative_path(&data, &data.join("a star.fits")).unwrap(), "a star.fits");
        assert_eq!(relative_path(&folder, &data.join("none.fits")), None);
    }
}
