//! `cargo xtask soak`: everything at once for an hour, and whether memory stays flat.
//!
//! A hub and two agents of one name: one is there all the time, the other is killed and started
//! again every few minutes, and both read their file again and again. Who asks, watches and leaves
//! is in [`load`]. Each minute of the hub and of the agent that stays is a line. Afterwards nothing
//! may be open that was not before, and memory may not have grown by more than a MiB an hour, but for
//! the hub's history of revisions, which has a bound of its own.

mod load;
mod look;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::load::Load;
use self::look::{Look, Trend};
use super::hub::Hub;
use super::relay::path::{Kind, Outer, Path, raise_descriptor_limit};
use super::relay::process::Process;
use super::relay::service::Service;
use super::relay::{runtime, strait};
use super::{Ground, RELEASE};
use crate::metadata::Metadata;
use crate::print;
use crate::stopwatch::Stopwatch;

/// How long it runs unless said.
pub(crate) const MINUTES: u32 = 60;
/// The shortest run that has a slope.
const MINUTES_MIN: u32 = 6;
/// Minutes until what is made once is there; half of a run that is shorter than twice that.
const WARM_UP: u32 = 10;
/// What memory may grow by, MiB an hour.
const SLOPE_MAX: f64 = 1.0;
/// From one look to the next; the least of a minute counts.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const LOOKS_A_MINUTE: u32 = 12;
/// Looks from one reading of the agents' file to the next, from one death to the next, and from
/// the making of tokens to that of the next, which is before they end.
const RELOAD_EVERY: u32 = 4;
const KILL_EVERY: u32 = 36;
const TOKENS_EVERY: u32 = 240;
/// Time for all to be closed when nobody asks any more.
const CLOSED_MAX: Duration = Duration::from_secs(120);
/// Descriptors that may be open then and were not before: connections that are kept.
const KEPT_MAX: usize = 16;

/// Runs for so many minutes.
///
/// # Errors
/// The processes do not start or end early, or what they hold grows.
pub(crate) fn run(minutes: u32) -> Result<()> {
    if minutes < MINUTES_MIN {
        bail!("a slope takes {MINUTES_MIN} minutes at least");
    }
    if super::in_release(&["strait", "xtask"], &["soak", "--minutes", &minutes.to_string()])? {
        return Ok(());
    }
    let target = Metadata::read()?.target_directory;
    let ground = Ground::new(&target, target.join(RELEASE), false)?;
    runtime()?.block_on(soak(&ground, minutes))
}

/// Has all of it happen for a minute, and judges nothing.
///
/// # Errors
/// The processes do not start.
pub(super) fn minute(ground: &Ground) -> Result<()> {
    runtime()?.block_on(async {
        raise_descriptor_limit()?;
        let service = Service::start()?;
        let path = Path::start(ground, Kind::Strait, &service).await?;
        let load = Load::start(&path.target);
        tokio::time::sleep(LOOK_EVERY * LOOKS_A_MINUTE).await;
        // Nobody is to wait for the hub when it ends, nor it for them.
        load.end().await;
        drop(path);
        Ok(())
    })
}

async fn soak(ground: &Ground, minutes: u32) -> Result<()> {
    raise_descriptor_limit()?;
    let service = Service::start()?;
    let path = Path::start(ground, Kind::Strait, &service).await?;
    let Outer::Hub(hub) = &path.outer else { bail!("the path has no hub") };
    let agent = path.inner.as_ref().context("the path has no agent")?.pids()[0];
    let mut second = strait::agent(ground, hub, "second")?;
    let before = look::look(hub, agent).await?;
    print(format_args!("{}\n{}", look::HEAD, before.line("before")));
    let load = Load::start(&path.target);
    let mut trends = [Trend::default(), Trend::default()];
    let mut looks = tokio::time::interval(LOOK_EVERY);
    for minute in 1..=minutes {
        let mut least: Option<Look> = None;
        for step in (minute - 1) * LOOKS_A_MINUTE + 1..=minute * LOOKS_A_MINUTE {
            looks.tick().await;
            disturb(ground, hub, &service, &mut second, &load, step)?;
            let look = look::look(hub, agent).await?;
            least = Some(least.map_or(look, |least| least.least(look)));
        }
        let least = least.context("a minute without a look")?;
        if minute > WARM_UP.min(minutes / 2) {
            let [hub, agent] = least.own_mib;
            for (trend, mib) in trends.iter_mut().zip([hub - least.history_mib, agent]) {
                trend.add(f64::from(minute), mib);
            }
        }
        print(format_args!("{}  {}", least.line(&format!("{minute} min")), load.told()));
    }
    drop(load);
    drop(second);
    let slopes = judge(&trends);
    closed(hub, agent, before).await.and(slopes)
}

/// What happens beside the load at this look.
fn disturb(
    ground: &Ground,
    hub: &Hub,
    service: &Service,
    second: &mut Process,
    load: &Load,
    step: u32,
) -> Result<()> {
    if step.is_multiple_of(RELOAD_EVERY) {
        strait::offer(ground, service, step / RELOAD_EVERY % 2 == 1)?;
    }
    if step.is_multiple_of(KILL_EVERY) {
        second.restart()?;
    }
    if step.is_multiple_of(TOKENS_EVERY) {
        load.renew(strait::tokens(ground, hub)?);
    }
    Ok(())
}

/// Waits until no more is open than was.
async fn closed(hub: &Hub, agent: u32, before: Look) -> Result<()> {
    let stopwatch = Stopwatch::start();
    loop {
        let now = look::look(hub, agent).await?;
        let kept = now.descriptors.iter().zip(before.descriptors);
        let none = now.streams == 0 && kept.into_iter().all(|(now, was)| *now <= was + KEPT_MAX);
        if none || stopwatch.elapsed() > CLOSED_MAX {
            print(now.line("after"));
        }
        if none {
            return Ok(());
        }
        if stopwatch.elapsed() > CLOSED_MAX {
            bail!("something stays open");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Fails where memory grew by more than it may, and by more than its own noise.
fn judge(trends: &[Trend; 2]) -> Result<()> {
    let mut result = Ok(());
    for (who, trend) in ["hub", "agent"].into_iter().zip(trends) {
        let (slope, error) = trend.per_hour();
        print(format_args!("{who}: {slope:+.2} ± {error:.2} MiB an hour"));
        if slope - error > SLOPE_MAX {
            result = Err(anyhow::anyhow!("the {who} grows by more than {SLOPE_MAX} MiB an hour"));
        }
    }
    result
}
