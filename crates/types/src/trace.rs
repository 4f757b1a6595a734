//! Where a request stands in a trace: the two fields of W3C Trace Context (level 1, section 3),
//! and who decides whether a span is kept (OpenTelemetry's samplers).
//!
//! What is malformed is no context: whoever reads it goes on as if nothing had been said.

use std::fmt;

/// Bytes of a `traceparent` of the first version; later ones may have more behind it.
const LENGTH: usize = 55;
/// The flag that says that whoever asked keeps its span.
const SAMPLED: u8 = 1;
/// Members of a `tracestate`, at most.
const MEMBERS_MAX: usize = 32;
/// Characters of a key, of its two parts where it has two, and of a value, at most.
const KEY_MAX: usize = 256;
const TENANT_MAX: usize = 241;
const SYSTEM_MAX: usize = 14;
const VALUE_MAX: usize = 256;

/// The id of a trace; never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The id of a span within its trace; never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// A span, as those that it asks name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether it is kept.
    pub sampled: bool,
}

impl TraceId {
    /// An id of random bytes; zeros, which are none, become another.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(if bytes == [0; 16] { [1; 16] } else { bytes })
    }

    /// The bytes that samplers go by: the second half, as a number.
    const fn share(self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl SpanId {
    /// An id of random bytes; zeros, which are none, become another.
    #[must_use]
    pub fn from_random(bytes: [u8; 8]) -> Self {
        Self(if bytes == [0; 8] { [1; 8] } else { bytes })
    }
}

impl TraceContext {
    /// Reads a `traceparent`; none where it is not well formed (section 3.2.2, and 4.3 for
    /// versions that are not known yet).
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let known = text.get(..LENGTH)?;
        let [version] = bytes(&known[..2])?;
        let more = match &text[LENGTH..] {
            [] => true,
            [b'-', ..] => version != 0,
            _ => false,
        };
        let dashes = [known[2], known[35], known[52]] == *b"---";
        if !more || !dashes || version == 0xff {
            return None;
        }
        let (trace, span): ([u8; 16], [u8; 8]) = (bytes(&known[3..35])?, bytes(&known[36..52])?);
        let [flags] = bytes(&known[53..])?;
        let is_one = trace != [0; 16] && span != [0; 8];
        let (trace, span) = (TraceId(trace), SpanId(span));
        is_one.then_some(Self { trace, span, sampled: flags & SAMPLED != 0 })
    }
}

/// The `traceparent` that names it.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// Bytes written as lower-case hexadecimal.
fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |own: u8| match own {
        b'0'..=b'9' => Some(own - b'0'),
        b'a'..=b'f' => Some(own - b'a' + 10),
        _ => None,
    };
    let mut all = [0; N];
    for (byte, pair) in all.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(all)
}

macro_rules! hexadecimal {
    ($($id:ty),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

hexadecimal!(TraceId, SpanId);

/// Whether all the `tracestate` fields of a message are, together, a list as section 3.3.1 has it:
/// what is not is passed on to nobody.
#[must_use]
pub fn is_tracestate<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let members = fields.into_iter().flat_map(|field| field.split(|own| *own == b','));
    let trimmed = members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    let mut count = 0;
    let mut well = trimmed.inspect(|_| count += 1);
    well.all(is_member) && count <= MEMBERS_MAX
}

fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|own| *own == b'=') else { return false };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let rest = |part: &[u8]| {
        let other = |own: &u8| matches!(own, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
        part.iter().all(other)
    };
    let begins = |part: &[u8], with_digit: bool| match part {
        [b'a'..=b'z', more @ ..] => rest(more),
        [b'0'..=b'9', more @ ..] => with_digit && rest(more),
        _ => false,
    };
    let is_key = match key.iter().position(|own| *own == b'@') {
        None => key.len() <= KEY_MAX && begins(key, false),
        Some(at) => {
            let (tenant, system) = (&key[..at], &key[at + 1..]);
            let short = tenant.len() <= TENANT_MAX && system.len() <= SYSTEM_MAX;
            short && begins(tenant, true) && begins(system, false)
        }
    };
    let is_value = |own: &u8| matches!(own, b' '..=b'~') && !matches!(own, b',' | b'=');
    is_key && (1..=VALUE_MAX).contains(&value.len()) && value.iter().all(is_value)
}

/// Who decides whether a span is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// Whoever asked decides where it said anything; else `by` does.
    parent_based: bool,
    by: By,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Always,
    Never,
    /// Where the share of the trace's id, which has 63 bits, is below.
    Below(u64),
}

/// A sampler cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSampler {
    /// There is none of that name.
    #[error("{0:?} is none of {NAMES}")]
    Unknown(String),
    /// Its argument is no share of a whole.
    #[error("{0:?} is no number from 0 to 1")]
    Share(String),
}

const NAMES: &str = "always_on, always_off, traceidratio, parentbased_always_on, \
                     parentbased_always_off, parentbased_traceidratio";

impl Default for Sampler {
    /// Every trace whose beginning is here, and of others those that whoever asked keeps.
    fn default() -> Self {
        Self { parent_based: true, by: By::Always }
    }
}

impl Sampler {
    /// The sampler of a name, as OpenTelemetry's environment variables have it. `share` is the
    /// argument: a number from 0 to 1 for those that keep a share of all traces, 1 where it is
    /// empty; others have none.
    ///
    /// # Errors
    /// See [`InvalidSampler`].
    pub fn parse(name: &str, share: &str) -> Result<Self, InvalidSampler> {
        let own = name.strip_prefix("parentbased_");
        let by = match own.unwrap_or(name) {
            "always_on" => By::Always,
            "always_off" => By::Never,
            "traceidratio" => By::of_share(share)?,
            _ => return Err(InvalidSampler::Unknown(name.to_owned())),
        };
        Ok(Self { parent_based: own.is_some(), by })
    }

    /// Whether a span of this trace is kept, given who asked.
    #[must_use]
    pub const fn keeps(self, trace: TraceId, parent: Option<&TraceContext>) -> bool {
        match (parent, self.by) {
            (Some(parent), _) if self.parent_based => parent.sampled,
            (_, By::Always) => true,
            (_, By::Never) => false,
            (_, By::Below(bound)) => trace.share() >> 1 < bound,
        }
    }
}

impl By {
    fn of_share(text: &str) -> Result<Self, InvalidSampler> {
        let share = if text.is_empty() { Ok(1.0) } else { text.parse::<f64>() };
        let share = share.ok().filter(|share| (0.0..=1.0).contains(share));
        let share = share.ok_or_else(|| InvalidSampler::Share(text.to_owned()))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to 2^63, which a u64 holds"
        )]
        Ok(Self::Below((share * 2_f64.powi(63)) as u64))
    }
}

#[cfg(test)]
mod tests;
