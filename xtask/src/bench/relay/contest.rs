//! Figures of paths that took turns, and what their ratios say.

use super::path::{Kind, Site};
use crate::bench::report::{Goal, Row, number};

/// `N` figures of every path and round.
#[derive(Debug)]
pub(crate) struct Contest<const N: usize> {
    samples: Vec<(Kind, Vec<[f64; N]>)>,
    absent: Option<String>,
}

/// One of the figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    /// In the table.
    pub(crate) name: &'static str,
    /// For Strait's ratio to the chain that is harder to beat.
    pub(crate) goal: Goal,
    /// Of the figures themselves.
    pub(crate) unit: &'static str,
}

impl<const N: usize> Contest<N> {
    /// A contest of the paths that are up.
    pub(crate) fn new(site: &Site) -> Self {
        let samples = site.paths.iter().map(|path| (path.kind, Vec::new())).collect();
        Self { samples, absent: site.absent.clone() }
    }

    /// The order of paths in a round: each begins in its turn.
    pub(crate) fn order(&self, round: usize) -> impl Iterator<Item = usize> + use<N> {
        let count = self.samples.len();
        (0..count).map(move |turn| (round + turn) % count)
    }

    /// Takes the figures of a path in this round.
    pub(crate) fn push(&mut self, path: usize, figures: [f64; N]) {
        self.samples[path].1.push(figures);
    }

    /// Rows of the figures, in their order.
    pub(crate) fn rows(&self, figures: [Figure; N]) -> Vec<Row> {
        figures.iter().enumerate().map(|(index, figure)| self.row(index, figure)).collect()
    }

    fn row(&self, index: usize, figure: &Figure) -> Row {
        let subject = self.column(Kind::Strait, index);
        let pairs = Kind::RIVALS.map(|rival| ratios(&subject, &self.column(rival, index)));
        let harder = pairs
            .into_iter()
            .filter(|pairs| !pairs.is_empty())
            .reduce(|a, b| if figure.goal.is_closer(median(&a), median(&b)) { b } else { a });
        let mut pairs = harder.unwrap_or_default();
        let measured = median(&pairs);
        pairs.sort_by(f64::total_cmp);
        let spread = match (&self.absent, &pairs[..]) {
            (Some(why), _) => format!("; strait: {why}"),
            (None, [least, .., most]) => format!("; {}-{} x", number(*least), number(*most)),
            (None, _) => String::new(),
        };
        let absolute: Vec<String> = self
            .samples
            .iter()
            .map(|(kind, _)| {
                format!("{} {}", kind.name(), number(median(&self.column(*kind, index))))
            })
            .collect();
        let details = format!("{} {}{spread}", absolute.join(", "), figure.unit);
        Row { name: figure.name, goal: Some(figure.goal), measured, unit: "x", details }
    }

    fn column(&self, kind: Kind, index: usize) -> Vec<f64> {
        let rounds = self.samples.iter().filter(|(found, _)| *found == kind);
        rounds.flat_map(|(_, rounds)| rounds).map(|figures| figures[index]).collect()
    }
}

/// What each round says.
fn ratios(subject: &[f64], rival: &[f64]) -> Vec<f64> {
    subject.iter().zip(rival).map(|(subject, rival)| subject / rival).collect()
}

/// The middle one; not a number where there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Figure =
        Figure { name: "rate", goal: Goal::High { goal: 1.6, floor: 1.25 }, unit: "/s" };
    const COST: Figure =
        Figure { name: "cost", goal: Goal::Low { goal: 0.45, floor: 0.6 }, unit: "us" };

    fn contest(absent: Option<&str>) -> Contest<2> {
        let mut samples = vec![
            (Kind::Nginx, vec![[10.0, 4.0], [20.0, 4.0], [10.0, 4.0]]),
            (Kind::Nginx2, vec![[16.0, 2.0], [16.0, 2.0], [8.0, 2.0]]),
        ];
        if absent.is_none() {
            samples.push((Kind::Strait, vec![[20.0, 1.0], [32.0, 1.0], [18.0, 1.0]]));
        }
        Contest { samples, absent: absent.map(str::to_owned) }
    }

    #[test]
    fn pairs_rounds_and_takes_the_rival_that_is_harder_to_beat() {
        let rows = contest(None).rows([RATE, COST]);
        // 2, 1.6, 1.8 of the first; 1.25, 2, 2.25 of the second.
        assert_eq!([rows[0].measured, rows[1].measured], [1.8, 0.5]);
        assert_eq!(rows[0].details, "nginx 10, nginx, 2 workers 16, strait 20 /s; 1.6-2 x");
    }

    #[test]
    fn a_path_that_did_not_come_up_has_no_figures_and_misses_its_goals() {
        let rows = contest(Some("no such command")).rows([RATE, COST]);
        assert!(rows.iter().all(|row| row.measured.is_nan()));
        assert!(rows[0].details.ends_with("; strait: no such command"), "{}", rows[0].details);
    }

    #[test]
    fn every_path_begins_in_its_turn() {
        let contest = contest(None);
        let orders = [0, 1, 2, 3].map(|round| contest.order(round).collect::<Vec<_>>());
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }
}
