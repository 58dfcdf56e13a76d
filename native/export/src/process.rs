//! What the operating system says of this process: the `process_*` families.
//!
//! They exist on Linux. A figure that cannot be read is left out alone.

use erlmcp_metrics::Family;

/// Reads the figures of this process at each scrape.
#[derive(Debug, Default)]
pub struct ProcessFigures {
    #[cfg(target_os = "linux")]
    linux: linux::Figures,
}

impl ProcessFigures {
    /// The families as of now. Reads files: not for a thread that must not wait.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        self.linux.families()
    }

    /// No other system is read.
    #[cfg(not(target_os = "linux"))]
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        Vec::new()
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::OnceLock;
    use std::time::{SystemTime, UNIX_EPOCH};

    use erlmcp_metrics::Number::{Float, Uint};
    use erlmcp_metrics::{Family, FamilyKind, Number};
    use procfs::process::{LimitValue, Limits, Process, Stat, Status};

    use crate::family::single;

    /// The start is read once: `/proc/stat`, where it comes from, is slow to
    /// read on hosts with many CPUs.
    #[derive(Debug, Default)]
    pub(super) struct Figures {
        started: OnceLock<f64>,
    }

    impl Figures {
        pub(super) fn families(&self) -> Vec<Family> {
            let mut figures = Gathered::default();
            let Ok(process) = Process::myself() else {
                return figures.families;
            };
            if let Ok(stat) = process.stat() {
                figures.stat(&stat);
                self.times(&mut figures, &stat);
            }
            if let Ok(count) = process.fd_count() {
                figures.gauge("process_open_fds", "Open file descriptors.", Uint(count as u64));
            }
            if let Ok(limits) = process.limits() {
                figures.limits(&limits);
            }
            if let Ok(status) = process.status() {
                figures.status(&status);
            }
            figures.families
        }

        fn times(&self, figures: &mut Gathered, stat: &Stat) {
            let started = match (self.started.get(), start_of(stat)) {
                (Some(started), _) => *started,
                (None, Some(started)) => *self.started.get_or_init(|| started),
                (None, None) => return,
            };
            figures.gauge(
                "process_start_time_seconds",
                "Start of the process, in seconds since 1970.",
                Float(started),
            );
            if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) {
                figures.gauge(
                    "process_uptime_seconds",
                    "Time since the start of the process.",
                    Float((now.as_secs_f64() - started).max(0.0)),
                );
            }
        }
    }

    /// Start of the process in seconds since 1970.
    fn start_of(stat: &Stat) -> Option<f64> {
        let boot = procfs::boot_time_secs().ok()?;
        Some(boot as f64 + seconds(stat.starttime))
    }

    /// A number of clock ticks in seconds.
    fn seconds(ticks: u64) -> f64 {
        ticks as f64 / procfs::ticks_per_second() as f64
    }

    #[derive(Default)]
    struct Gathered {
        families: Vec<Family>,
    }

    impl Gathered {
        fn stat(&mut self, stat: &Stat) {
            self.families.push(single(
                "process_cpu_seconds_total",
                FamilyKind::Counter,
                "CPU time used, in user and in system mode.",
                Float(seconds(stat.utime.saturating_add(stat.stime))),
            ));
            self.gauge(
                "process_virtual_memory_bytes",
                "Size of the address space.",
                Uint(stat.vsize),
            );
            self.gauge(
                "process_resident_memory_bytes",
                "Memory that is in RAM.",
                Uint(stat.rss.saturating_mul(procfs::page_size())),
            );
            let threads = Uint(u64::try_from(stat.num_threads).unwrap_or_default());
            self.gauge("process_threads", "Operating-system threads.", threads);
            // The name that BEAM dashboards read. Of no stated type: a gauge
            // whose name ends in _total fails `promtool check metrics`.
            self.families.push(single(
                "process_threads_total",
                FamilyKind::Untyped,
                "The same as process_threads, under the name that BEAM dashboards read.",
                threads,
            ));
        }

        fn limits(&mut self, limits: &Limits) {
            self.gauge(
                "process_max_fds",
                "Most file descriptors that may be open.",
                limit(limits.max_open_files.soft_limit),
            );
            self.gauge(
                "process_virtual_memory_max_bytes",
                "Most address space that may be in use.",
                limit(limits.max_address_space.soft_limit),
            );
        }

        fn status(&mut self, status: &Status) {
            if let Some(kibibytes) = status.vmhwm {
                self.gauge(
                    "process_max_resident_memory_bytes",
                    "Most memory that was in RAM at any time.",
                    Uint(kibibytes.saturating_mul(1_024)),
                );
            }
        }

        fn gauge(&mut self, name: &str, help: &str, value: Number) {
            self.families.push(single(name, FamilyKind::Gauge, help, value));
        }
    }

    /// A limit; "unlimited" is the largest number, as the Go client shows it.
    fn limit(value: LimitValue) -> Number {
        match value {
            LimitValue::Value(n) => Uint(n),
            LimitValue::Unlimited => Uint(u64::MAX),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn value(families: &[Family], name: &str) -> f64 {
            let family = families.iter().find(|f| f.name == name).expect(name);
            assert_eq!(family.samples.len(), 1, "{name}");
            family.samples.first().unwrap().value.as_f64()
        }

        #[test]
        fn every_figure_is_there_and_plausible() {
            let figures = Figures::default();
            let families = figures.families();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
            assert_eq!(families.len(), 11);
            assert!(value(&families, "process_cpu_seconds_total") >= 0.0);
            let resident = value(&families, "process_resident_memory_bytes");
            assert!((100_000.0..1e11).contains(&resident), "{resident}");
            assert!(value(&families, "process_virtual_memory_bytes") >= resident);
            assert!(value(&families, "process_virtual_memory_max_bytes") > 0.0);
            assert!(value(&families, "process_max_resident_memory_bytes") >= 100_000.0);
            let open = value(&families, "process_open_fds");
            assert!(open >= 3.0 && open <= value(&families, "process_max_fds"));
            let threads = value(&families, "process_threads");
            assert!(threads >= 1.0);
            assert_eq!(value(&families, "process_threads_total"), threads);
            let started = value(&families, "process_start_time_seconds");
            assert!((now - 3_600.0..now + 5.0).contains(&started), "{started} {now}");
            assert!(value(&families, "process_uptime_seconds") < 3_600.0);
            let again = figures.families();
            assert_eq!(value(&again, "process_start_time_seconds"), started);
        }
    }
}
