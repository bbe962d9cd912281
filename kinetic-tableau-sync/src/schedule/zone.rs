//! Time zones by name.

use std::fmt;

use super::ScheduleError;

/// A time zone: UTC, or one of the IANA database (`Europe/Zurich`; feature `cron`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Zone(#[cfg(feature = "cron")] chrono_tz::Tz, #[cfg(not(feature = "cron"))] ());

impl Zone {
    /// Coordinated universal time.
    #[cfg(feature = "cron")]
    pub const UTC: Self = Self(chrono_tz::UTC);
    /// Coordinated universal time.
    #[cfg(not(feature = "cron"))]
    pub const UTC: Self = Self(());

    /// The zone of a name of the IANA database.
    ///
    /// # Errors
    /// When there is no such zone, or this build knows none.
    pub fn named(name: &str) -> Result<Self, ScheduleError> {
        if name.eq_ignore_ascii_case("utc") {
            return Ok(Self::UTC);
        }
        #[cfg(feature = "cron")]
        return chrono_tz::Tz::from_str_insensitive(name).map(Self).map_err(|_| {
            ScheduleError::new(format!("'{name}' is no time zone; write it as UTC, Europe/Zurich or America/Chicago"))
        });
        #[cfg(not(feature = "cron"))]
        Err(ScheduleError::new(format!(
            "this build knows no time zone but UTC, not '{name}'; build with the feature `cron`"
        )))
    }

    /// Its clock.
    #[cfg(feature = "cron")]
    pub(super) fn clock(self) -> chrono_tz::Tz {
        self.0
    }

    /// Its clock.
    #[cfg(not(feature = "cron"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) fn clock(self) -> chrono::Utc {
        chrono::Utc
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "cron")]
        return f.write_str(self.0.name());
        #[cfg(not(feature = "cron"))]
        f.write_str("UTC")
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
