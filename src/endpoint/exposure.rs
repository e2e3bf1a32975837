/// How much of a report a caller may see. Each shows what the one before it shows, and more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Exposure {
    /// The verdict alone. The paths of single checks answer 404, whether there is such a check or not.
    Status,
    /// Names, statuses, times, durations and public reasons. Never measurements, never causes.
    #[default]
    Checks,
    /// Measurements, runbooks and [causes](crate::Cause), as redaction left them, too. They name hosts, roles and files, so only
    /// callers whom a [rule](crate::endpoint::EndpointsBuilder::authorize) knows see them, or those of a management port.
    Full,
}
