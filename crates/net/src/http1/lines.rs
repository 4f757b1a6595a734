//! Where lines end, in bytes that come piece by piece.

use memchr::memchr;

use super::Malformed;

/// What was looked at already of the lines that come now, which stay at the beginning of the
/// bytes until they are whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines {
    /// Bytes without the end of a line.
    searched: usize,
    /// Where the last line begins.
    last: usize,
}

impl Lines {
    /// Where lines that an empty one ends are whole, behind that; none before.
    ///
    /// # Errors
    /// A line ends without CR, or they have more than `most` bytes, which is called so.
    pub fn block(
        &mut self,
        bytes: &[u8],
        most: usize,
        called: &'static str,
    ) -> Result<Option<usize>, Malformed> {
        while let Some(end) = self.next(bytes, most, called)? {
            let is_last = end - self.last == 2;
            self.last = end;
            if is_last {
                *self = Self::default();
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// Where a line is whole, behind its end; none before.
    ///
    /// # Errors
    /// It ends without CR, or has more than `most` bytes, which is called so.
    pub fn one(
        &mut self,
        bytes: &[u8],
        most: usize,
        called: &'static str,
    ) -> Result<Option<usize>, Malformed> {
        let end = self.next(bytes, most, called)?;
        if end.is_some() {
            *self = Self::default();
        }
        Ok(end)
    }

    fn next(
        &mut self,
        bytes: &[u8],
        most: usize,
        called: &'static str,
    ) -> Result<Option<usize>, Malformed> {
        let found = memchr(b'\n', &bytes[self.searched..]);
        let end = found.map(|at| self.searched + at + 1);
        self.searched = end.unwrap_or(bytes.len());
        if self.searched > most {
            return Err(Malformed::Size(called));
        }
        match end {
            Some(end) if !bytes[self.last..end].ends_with(b"\r\n") => {
                Err(Malformed::Framing("line ends"))
            }
            end => Ok(end),
        }
    }
}
