//! One file out of an archive. The archives' hashes are pinned, so their sizes are known.

use std::io::{Cursor, Read as _};

use anyhow::{Context as _, Result, bail};
use flate2::read::GzDecoder;

/// The file at a path of a gzipped tarball.
pub(crate) fn from_tarball(tarball: &[u8], path: &str) -> Result<Vec<u8>> {
    let mut archive = tar::Archive::new(GzDecoder::new(tarball));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path_bytes() == path.as_bytes() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    }
    bail!("the tarball has no {path}")
}

/// The file at a path of a zip file.
pub(crate) fn from_zip(zip: &[u8], path: &str) -> Result<Vec<u8>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(zip))?;
    let mut entry = archive.by_name(path).with_context(|| format!("the zip file's {path}"))?;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    #[test]
    fn finds_a_file_in_a_tarball() {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, content) in [("package/a", "first"), ("package/b", "second")] {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len().try_into().unwrap());
            builder.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        let tarball = builder.into_inner().unwrap().finish().unwrap();
        assert_eq!(from_tarball(&tarball, "package/b").unwrap(), b"second");
        assert!(from_tarball(&tarball, "package/c").is_err());
        assert!(from_tarball(&tarball[..20], "package/b").is_err());
    }

    #[test]
    fn finds_a_file_in_a_zip_file() {
        use std::io::Write as _;
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("d/a", zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(b"content").unwrap();
        let zip = writer.finish().unwrap().into_inner();
        assert_eq!(from_zip(&zip, "d/a").unwrap(), b"content");
        assert!(from_zip(&zip, "d/b").is_err());
    }
}
