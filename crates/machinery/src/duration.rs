//! Ages as tables show them (`apimachinery/pkg/util/duration`): the coarser, the older.

use std::time::Duration;

use jiff::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// A length of time in at most two units: `90s`, `4m30s`, `3h`, `5d4h`, `2y10d`.
#[must_use]
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    // Up to which age two units are shown, and above it only the larger one.
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds, (MINUTE, 'm'), (1, 's')),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds, (HOUR, 'h'), (MINUTE, 'm')),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds, (DAY, 'd'), (HOUR, 'h')),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(seconds, (YEAR, 'y'), (DAY, 'd')),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// The larger unit, and the smaller one unless there is none of it left.
fn two(seconds: u64, large: (u64, char), small: (u64, char)) -> String {
    let whole = seconds / large.0;
    let rest = seconds % large.0 / small.0;
    if rest == 0 {
        format!("{whole}{}", large.1)
    } else {
        format!("{whole}{}{rest}{}", large.1, small.1)
    }
}

/// The age of something that began at `since`. Clocks may differ by a second; more than that
/// in the future is `<invalid>`.
#[must_use]
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let elapsed = now.duration_since(since);
    match Duration::try_from(elapsed) {
        Ok(elapsed) => human(elapsed),
        Err(_) if elapsed.as_secs() >= -1 => "0s".into(),
        Err(_) => "<invalid>".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_get_coarser_with_age() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (28_799, "7h59m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_199, "7d23h"),
            (691_200, "8d"),
            (729 * DAY, "729d"),
            (730 * DAY, "2y"),
            (731 * DAY, "2y1d"),
            (8 * YEAR - 1, "7y364d"),
            (8 * YEAR, "8y"),
            (u64::MAX, "584942417355y"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn clocks_may_differ_by_a_second() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (since, text) in
            [(999_400, "10m"), (1_000_000, "0s"), (1_000_001, "0s"), (1_000_002, "<invalid>")]
        {
            assert_eq!(age(Timestamp::from_second(since).unwrap(), now), text, "{since}");
        }
        assert_eq!(age(Timestamp::MAX, Timestamp::MIN), "<invalid>");
        assert!(age(Timestamp::MIN, Timestamp::MAX).ends_with('y'));
    }
}
