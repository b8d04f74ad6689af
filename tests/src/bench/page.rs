//! What the figures of a run come to for a bot of 20,000 shards on 40 hosts:
//! the page `docs/large-bots.md`, as Markdown.

use super::{
    Results,
    handover::{Handover, Kept},
    many_hosts::ManyHosts,
    serving::{EventCost, Keeps, MEMBERS},
    state::{Compression, Holds, StateRate},
};

/// The bot that is spoken of.
const SHARDS: f64 = 20_000.0;
const HOSTS: f64 = 40.0;
const GUILDS: f64 = 1000.0;
const EVENTS: f64 = 20.0;

/// IDENTIFYs a day of a bot that was given no more.
const A_DAY: f64 = 1000.0;

/// Figures of a run that the page is made of.
#[derive(Clone, Debug)]
struct Figures {
    /// Shards of the deploy that was timed, and its round-trip time.
    of: u32,
    rtt_ms: u64,
    deploy_ms: f64,
    ours_ms: f64,
    behind_ms: f64,
    gap_ms: f64,
    event_us: f64,
    event_bytes: f64,
    guild_bytes: f64,
    /// Members of a guild that was copied.
    copied_members: u32,
    copy_mb_s: f64,
    shard_kib: f64,
    guild_kib: f64,
    /// Of a guild in a store.
    stored_kib: Option<f64>,
    of_twice: f64,
    deploy_rows: f64,
    deploy_syncs: f64,
    sync_ms: f64,
    /// What the master does, in virtual time.
    played: Option<ManyHosts>,
}

/// The page; `None` where a figure is missing.
#[must_use]
pub fn markdown(results: &Results) -> Option<String> {
    let figures = Figures::of(results)?;
    let machine = &results.machine;
    let host = SHARDS / HOSTS;
    let mut page = format!(
        "# A bot of 20,000 shards on 40 hosts\n\n\
         One master leads all of them, on a host of its own or one of the {HOSTS:.0}; each host has an agent, a slot and {host:.0} shards.\n\
         What one host does is arithmetic, not a measurement; what the master does was played in virtual time, with its own code.\n\
         The figures were measured by `scripts/bench` on {} cores of {}, with the simulated Discord on the same machine.\n\
         `scripts/bench --page` writes this page from a run.\n\n\
         Assumed: {GUILDS:.0} guilds and {EVENTS:.0} events/s a shard, twilight's cache, and a round trip of {} ms to Discord.\n\
         Guilds are those of the bench, which are of two sizes: its guilds have {MEMBERS} members where it measures memory, and {} where it measures copies.\n\
         So do not compare the rows about memory with those about copies: the copied guilds are larger.\n\n\
         | of one host | how | comes to |\n|---|---|---|\n",
        machine.cores, machine.processor, figures.rtt_ms, figures.copied_members,
    );
    for (what, how, amount) in figures.rows(host) {
        page.push_str(&format!("| {what} | {how} | {amount} |\n"));
    }
    page.push_str(&figures.of_the_bot());
    Some(page)
}

impl Figures {
    fn of(results: &Results) -> Option<Self> {
        let deploy = largest(&results.handover)?;
        let events = cached(&results.events)?;
        let copy = copied(&results.state)?;
        let memory = |of: &str| {
            let row = results.memory.iter().find(|memory| memory.of.contains(of));
            row.map(|memory| memory.slave_kib)
        };
        let core = results.core.iter().find(|core| core.shards == 1024)?;
        Some(Self {
            of: deploy.row.shards,
            rtt_ms: deploy.row.rtt_ms,
            deploy_ms: deploy.deploy_ms?,
            ours_ms: deploy.cpu?.ours_ms,
            behind_ms: deploy.behind_ms?,
            gap_ms: deploy.probed_gap_ms.p50?,
            event_us: events.slave_us,
            event_bytes: events.event_bytes,
            guild_bytes: copy.mb? * 1e6 / f64::from(copy.row.shards * copy.row.guilds),
            copied_members: copy.row.members,
            copy_mb_s: copy.mb_s?,
            shard_kib: memory("idle shard")?,
            guild_kib: memory("1000 cached guilds")? / 1000.0,
            stored_kib: memory("1000 guilds in a store").map(|kib| kib / 1000.0),
            of_twice: super::peaks(&results.handover, Kept::Cache)
                .filter_map(|row| row.of_twice)
                .reduce(f64::max)?,
            deploy_rows: core.deploy_rows,
            deploy_syncs: core.deploy_syncs,
            sync_ms: results.machine.sync_ms?,
            played: results
                .hosts
                .iter()
                .find(|played| f64::from(played.shards) >= SHARDS)
                .cloned(),
        })
    }

    /// From the order to copy to the last RESUMED, as if a shard's copy and its
    /// handover never ran beside those of another.
    fn deploy_s(&self, host: f64) -> f64 {
        self.copy_s(host) + self.moving_s(host)
    }

    fn copy_s(&self, host: f64) -> f64 {
        host * GUILDS * self.guild_bytes / 1e6 / self.copy_mb_s
    }

    fn moving_s(&self, host: f64) -> f64 {
        host * self.deploy_ms / f64::from(self.of) / 1000.0
    }

    /// Memory of a host whose guilds take so much each.
    fn serving_gb(&self, host: f64, guild_kib: f64) -> f64 {
        host * (self.shard_kib + GUILDS * guild_kib) * 1024.0 / 1e9
    }

    /// What is different with a store.
    fn stored(&self) -> String {
        let host = SHARDS / HOSTS;
        let moving = duration(self.moving_s(host));
        let memory = self.stored_kib.map_or_else(String::new, |kib| {
            format!(
                "\x20 Guilds of {MEMBERS} members take {kib:.1} KiB each there: {:.1} GB a host while serving, and as much at the peak of a deploy.\n",
                self.serving_gb(host, kib)
            )
        });
        format!(
            "- With a [store](bots.md#a-store) in the place of the cache no state moves: a deploy needs the memory of one state and two processes, and takes as long as handing the shards over, {moving}.\n{memory}"
        )
    }

    fn rows(&self, host: f64) -> Vec<(&'static str, String, String)> {
        let events = host * EVENTS;
        let state_gb = host * GUILDS * self.guild_bytes / 1e9;
        let cached_gb = self.serving_gb(host, self.guild_kib);
        let moving_s = self.moving_s(host);
        let replayed = EVENTS * self.behind_ms / 1000.0;
        let replayed_mb = host * replayed * self.event_bytes / 1e6;
        vec![
            (
                "handling events",
                format!("{events:.0} events/s x {:.1} µs", self.event_us),
                format!("{:.2} cores", events * self.event_us / 1e6),
            ),
            (
                "from Discord, before compression",
                format!("{events:.0} events/s x {:.0} bytes", self.event_bytes),
                format!("{:.0} Mbit/s", events * self.event_bytes * 8.0 / 1e6),
            ),
            (
                "memory while serving",
                format!(
                    "{host:.0} shards x ({:.0} KiB + {GUILDS:.0} guilds of {MEMBERS} members x {:.0} KiB)",
                    self.shard_kib, self.guild_kib
                ),
                format!("{cached_gb:.0} GB"),
            ),
            (
                "memory at the peak of a deploy",
                format!("twice that x {:.2}", self.of_twice),
                format!("{:.0} GB", 2.0 * cached_gb * self.of_twice),
            ),
            (
                "state that is copied, on the host itself",
                format!(
                    "{host:.0} x {GUILDS:.0} guilds of {} members x {:.0} KB",
                    self.copied_members,
                    self.guild_bytes / 1000.0
                ),
                format!("{state_gb:.0} GB"),
            ),
            (
                "copying it, while the old slave serves",
                format!("at {:.0} MB/s", self.copy_mb_s),
                format!("{:.0} s", self.copy_s(host)),
            ),
            (
                "handing shards over",
                format!(
                    "{:.0} ms for {} shards, measured with 1 event/s a shard",
                    self.deploy_ms, self.of
                ),
                format!("{moving_s:.1} s"),
            ),
            (
                "a whole deploy, soak apart",
                "at most the two after each other".to_owned(),
                duration(self.deploy_s(host)),
            ),
            (
                "processor time of its handovers",
                format!(
                    "{:.2} ms a shard, master and slaves",
                    self.ours_ms / f64::from(self.of)
                ),
                format!("{:.1} s", host * self.ours_ms / f64::from(self.of) / 1000.0),
            ),
            (
                "replayed by Discord",
                format!(
                    "{:.0} ms from copy to RESUMED: {replayed:.1} events a shard",
                    self.behind_ms
                ),
                format!("{replayed_mb:.2} MB"),
            ),
            (
                "that in the time of the handovers",
                "before compression".to_owned(),
                format!("{:.1} Mbit/s", replayed_mb * 8.0 / moving_s),
            ),
            (
                "journal, a deploy",
                format!("{:.1} rows a shard", self.deploy_rows),
                format!("{:.0} rows", host * self.deploy_rows),
            ),
            (
                "waits for the disk, a deploy",
                format!(
                    "at most {:.1} a shard, {:.2} ms each",
                    self.deploy_syncs, self.sync_ms
                ),
                format!("{:.1} s", host * self.deploy_syncs * self.sync_ms / 1000.0),
            ),
            (
                "journal while serving",
                "a row a shard and second, one write for all, no wait".to_owned(),
                format!("{host:.0} rows/s"),
            ),
        ]
    }

    fn of_the_bot(&self) -> String {
        let host = SHARDS / HOSTS;
        let one = self.deploy_s(host);
        let cold = |concurrency: f64| duration(SHARDS / concurrency * 5.0);
        format!(
            "\nOf the whole bot:\n\n\
             - A deploy spends no IDENTIFY, on any number of hosts.\n\
             \x20 A cold start of 20,000 shards takes {} with `max_concurrency` 16, {} with 64, \
             and {:.0} days' worth of IDENTIFYs at {A_DAY:.0} a day; a bot of that size is given more.\n\
             - Hosts that deploy at the same time take {}; one after the other, {}.\n\
             \x20 A user's events wait {:.0} ms in the middle (the median gap at this round trip), once.\n\
             {}\
             {}\
             - Real guilds differ more from the bench's than hosts do: put your own guilds, events and sizes into the second column.\n",
            cold(16.0),
            cold(64.0),
            SHARDS / A_DAY,
            duration(one),
            duration(one * HOSTS),
            self.gap_ms,
            self.stored(),
            self.played.as_ref().map_or_else(String::new, master),
        )
    }
}

/// What the master's core did with so many hosts, in virtual time.
fn master(played: &ManyHosts) -> String {
    format!(
        "- The master of such a fleet was played in virtual time, with {} hosts and {} shards, a launch of 2 s, a soak of 10 s, a store, and a round trip of 50 ms:\n\
         \x20 a cold start with `max_concurrency` 64 takes {}; \
         `deploy --all` takes {}, a host after the other, and {} with `--max-unavailable 8`, with {} IDENTIFYs.\n\
         \x20 When a host is lost, its shards are resumed on the others within {:.1} s of the operator's word; when it is there again, `rebalance` takes {}.\n\
         \x20 The core takes {:.1} µs for an input, {:.1} ms for the longest one, and {:.2} processors while each shard serves {EVENTS:.0} events/s.\n\
         \x20 Virtual time has no work of slaves and hosts in it.\n",
        played.hosts,
        played.shards,
        duration(played.cold_s),
        duration(played.rolling_s),
        duration(played.eight_at_once_s),
        played.identifies,
        played.lost_host_s,
        duration(played.rebalance_s),
        played.input_us,
        played.longest_ms,
        played.serving_cores,
    )
}

/// The deploy of most shards that is nearest to a round trip of 50 ms.
fn largest(handovers: &[Handover]) -> Option<&Handover> {
    let plain = handovers.iter().filter(|row| {
        row.row.is_plain() && !row.row.late_seal && row.deploy_ms.is_some() && row.cpu.is_some()
    });
    plain.max_by_key(|row| (row.row.shards, u64::MAX - row.row.rtt_ms.abs_diff(50)))
}

fn cached(events: &[EventCost]) -> Option<&EventCost> {
    events.iter().find(|cost| cost.keeps == Keeps::Cache)
}

fn copied(state: &[StateRate]) -> Option<&StateRate> {
    let cache = state
        .iter()
        .filter(|rate| rate.row.holds == Holds::Cache && rate.row.compression == Compression::None);
    cache.max_by_key(|rate| rate.row.shards)
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        120.0..7200.0 => format!("{:.0} minutes", seconds / 60.0),
        _ => format!("{:.1} hours", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: Figures = Figures {
        of: 1000,
        rtt_ms: 50,
        deploy_ms: 10_000.0,
        ours_ms: 5000.0,
        behind_ms: 250.0,
        gap_ms: 60.0,
        event_us: 40.0,
        event_bytes: 500.0,
        guild_bytes: 50_000.0,
        copied_members: 200,
        copy_mb_s: 100.0,
        shard_kib: 100.0,
        guild_kib: 80.0,
        stored_kib: Some(10.0),
        of_twice: 1.1,
        deploy_rows: 4.0,
        deploy_syncs: 1.0,
        sync_ms: 0.5,
        played: None,
    };

    #[test]
    fn a_host_is_its_shards_times_what_one_costs() {
        let rows = FIGURES.rows(500.0);
        let of = |name: &str| {
            let row = rows.iter().find(|(what, _, _)| what.starts_with(name));
            row.map_or("", |(_, _, amount)| amount)
        };
        assert_eq!(of("handling events"), "0.40 cores");
        assert_eq!(of("from Discord"), "40 Mbit/s");
        assert_eq!(of("state that is copied"), "25 GB");
        assert_eq!(of("copying it"), "250 s");
        assert_eq!(of("handing shards over"), "5.0 s");
        assert_eq!(of("a whole deploy"), "4 minutes");
        assert_eq!(of("replayed by"), "1.25 MB");
        assert_eq!(of("that in the time"), "2.0 Mbit/s");
        assert_eq!(of("waits for the disk"), "0.2 s");
    }

    #[test]
    fn a_cold_start_is_five_seconds_for_each_bucket() {
        let text = FIGURES.of_the_bot();
        assert!(
            text.contains("104 minutes with `max_concurrency` 16"),
            "{text}"
        );
        assert!(text.contains("26 minutes with 64"), "{text}");
        // 500 shards of 1000 guilds, and 10 ms a shard.
        assert!(text.contains("handing the shards over, 5 s."), "{text}");
        assert!(
            text.contains("10.0 KiB each there: 5.2 GB a host"),
            "{text}"
        );
    }

    #[test]
    fn durations_are_said_in_the_unit_that_fits() {
        assert_eq!(duration(119.4), "119 s");
        assert_eq!(duration(120.0), "2 minutes");
        assert_eq!(duration(7200.0), "2.0 hours");
    }
}
