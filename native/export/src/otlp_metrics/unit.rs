//! Units as OpenTelemetry wants them.

/// A unit in UCUM's case-sensitive codes; one that is not known as a word
/// stays as it was given.
///
/// <https://opentelemetry.io/docs/specs/semconv/general/metrics/#instrument-units>
pub(super) fn ucum(unit: &str) -> &str {
    match unit {
        "nanoseconds" => "ns",
        "microseconds" => "us",
        "milliseconds" => "ms",
        "seconds" => "s",
        "minutes" => "min",
        "hours" => "h",
        "days" => "d",
        "bits" => "bit",
        "bytes" => "By",
        "kilobytes" => "kBy",
        "megabytes" => "MBy",
        "gigabytes" => "GBy",
        "kibibytes" => "KiBy",
        "mebibytes" => "MiBy",
        "gibibytes" => "GiBy",
        "ratio" => "1",
        "percent" => "%",
        "celsius" => "Cel",
        "hertz" => "Hz",
        "meters" => "m",
        "grams" => "g",
        "joules" => "J",
        "watts" => "W",
        "volts" => "V",
        "amperes" => "A",
        other => other,
    }
}
