//! What a measurement says, and the table of them.

use std::fmt::Write as _;
use std::time::Duration;

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What is measured.
    pub(crate) name: &'static str,
    /// What is wanted, where anything is.
    pub(crate) goal: Option<Goal>,
    /// What was measured, in the goal's unit.
    pub(crate) measured: f64,
    /// The unit of goal and measurement.
    pub(crate) unit: &'static str,
    /// More about it: percentiles, processor time.
    pub(crate) details: String,
}

/// A bound on a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
    /// Not more than the goal; not acceptable above the floor.
    Low { goal: f64, floor: f64 },
    /// Not less than the goal; not acceptable below the floor.
    High { goal: f64, floor: f64 },
}

impl Goal {
    /// Whether the first of two measurements is closer to what is wanted.
    pub(crate) fn is_closer(self, first: f64, second: f64) -> bool {
        match self {
            Self::AtMost(_) | Self::Low { .. } => first < second,
            Self::AtLeast(_) | Self::High { .. } => first > second,
        }
    }

    /// `ok`, `floor` where only the floor holds, or `miss`.
    fn verdict(self, measured: f64) -> &'static str {
        let (goal, floor) = match self {
            Self::AtMost(limit) | Self::AtLeast(limit) => (limit, limit),
            Self::Low { goal, floor } | Self::High { goal, floor } => (goal, floor),
        };
        let holds = |limit: f64| measured == limit || self.is_closer(measured, limit);
        match (holds(goal), holds(floor)) {
            (true, _) => "ok",
            (false, true) => "floor",
            (false, false) => "miss",
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtMost(limit) => format!("<= {} {unit}", number(limit)),
            Self::AtLeast(limit) => format!(">= {} {unit}", number(limit)),
            Self::Low { goal, floor } => {
                format!("<= {} {unit} (floor {})", number(goal), number(floor))
            }
            Self::High { goal, floor } => {
                format!(">= {} {unit} (floor {})", number(goal), number(floor))
            }
        }
    }
}

/// The table, with aligned columns.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut lines = vec![["", "goal", "measured", "", "details"].map(str::to_owned)];
    for row in rows {
        let goal = row.goal.map_or_else(|| "-".into(), |goal| goal.text(row.unit));
        let verdict = row.goal.map(|goal| goal.verdict(row.measured));
        lines.push([
            row.name.into(),
            goal,
            measured(row),
            verdict.unwrap_or_default().into(),
            row.details.clone(),
        ]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: [usize; 4] = [width(0), width(1), width(2), width(3)];
    let mut text = String::new();
    for [name, goal, measured, verdict, details] in &lines {
        let [a, b, c, d] = widths;
        let line = format!("{name:<a$}  {goal:>b$}  {measured:>c$}  {verdict:<d$}  {details}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.trim_end().to_owned()
}

/// What was measured, if anything was.
fn measured(row: &Row) -> String {
    if row.measured.is_nan() {
        return "-".into();
    }
    format!("{} {}", number(row.measured), row.unit)
}

/// Hundreds and more without decimals, with a comma before thousands; less than ten with two.
pub(crate) fn number(value: f64) -> String {
    if value < 10.0 {
        let short = format!("{value:.2}");
        return short.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    if value < 100.0 {
        let short = format!("{value:.1}");
        return short.strip_suffix(".0").unwrap_or(&short).to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The value below which this share of sorted values lies; zero where there is none.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(clippy::cast_possible_truncation, reason = "a share of a list's length")]
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// A duration in milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The usual percentiles of sorted values.
pub(crate) fn percentiles(sorted: &[Duration]) -> String {
    let at = |share| milliseconds(percentile(sorted, share));
    format!(
        "p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_whether_goals_are_met() {
        let row =
            |name, goal, measured| Row { name, goal, measured, unit: "ms", details: "d".into() };
        let text = table(&[
            row("start", Some(Goal::AtMost(150.0)), 99.94),
            row("start", Some(Goal::AtMost(150.0)), 1500.0),
            row("rate", Some(Goal::AtLeast(3000.0)), 1_234_567.0),
            row("rate", Some(Goal::High { goal: 1.6, floor: 1.25 }), 1.25),
            row("size", Some(Goal::Low { goal: 17.0, floor: 20.0 }), 20.1),
            row("size", Some(Goal::AtMost(1.0)), f64::NAN),
            row("disk", None, 2.0),
        ]);
        let wanted = "\
                goal      measured        details
start      <= 150 ms       99.9 ms  ok    d
start      <= 150 ms      1,500 ms  miss  d
rate   >= 3,000 ms  1,234,567 ms  ok    d
rate >= 1.6 ms (floor 1.25)  1.25 ms  floor d
size <= 17 ms (floor 20)  20.1 ms  miss d
size <= 1 ms  -  miss d
disk             -          2 ms        d";
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeeze(&text), squeeze(wanted));
        assert_eq!(
            text.lines().nth(1).unwrap().find("ok"),
            text.lines().nth(3).unwrap().find("ok")
        );
    }

    #[test]
    fn numbers_are_as_long_as_they_say_something() {
        for (value, text) in [
            (0.0, "0"),
            (0.0012, "0"),
            (0.01, "0.01"),
            (0.246, "0.25"),
            (0.5, "0.5"),
            (1.0, "1"),
            (7.25, "7.25"),
            (72.51, "72.5"),
            (99.94, "99.9"),
            (150.4, "150"),
            (12_345.0, "12,345"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn percentiles_of_few_and_many() {
        let values: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 0.5), Duration::from_millis(51));
        assert_eq!(percentile(&values, 0.99), Duration::from_millis(100));
        assert_eq!(percentile(&values, 1.0), Duration::from_millis(100));
        assert_eq!(percentile(&values[..1], 0.5), Duration::from_millis(1));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
