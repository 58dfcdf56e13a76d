%% @private Times as RFC 3339 has them, in UTC.
-module(erlmcp_log_time).

-export([rfc3339/1]).

-define(DAY_US, 86400000000).
%% From 0000-01-01 to 9999-12-31.
-define(MIN_US, -62167219200000000).
-define(MAX_US, 253402300799999999).
%% Days from 0000-03-01 to 1970-01-01, and of 400 years.
-define(EPOCH_DAYS, 719468).
-define(ERA_DAYS, 146097).

%% A time in microseconds since 1970 with all its digits. One that has no four
%% digits of a year, or is none, is now.
-spec rfc3339(term()) -> binary().
rfc3339(Time) when is_integer(Time), Time >= ?MIN_US, Time =< ?MAX_US ->
    Days = floor_div(Time, ?DAY_US),
    OfDay = Time - Days * ?DAY_US,
    {Year, Month, Day} = date(Days + ?EPOCH_DAYS),
    Seconds = OfDay div 1000000,
    Micro = OfDay rem 1000000,
    <<(two(Year div 100))/binary, (two(Year rem 100))/binary, $-, (two(Month))/binary, $-,
      (two(Day))/binary, $T, (two(Seconds div 3600))/binary, $:,
      (two(Seconds div 60 rem 60))/binary, $:, (two(Seconds rem 60))/binary, $.,
      (two(Micro div 10000))/binary, (two(Micro div 100 rem 100))/binary,
      (two(Micro rem 100))/binary, $Z>>;
rfc3339(_Time) ->
    rfc3339(erlang:system_time(microsecond)).

%% Howard Hinnant's civil_from_days: years begin in March, so that a leap day is
%% the last one.
-spec date(integer()) -> {integer(), 1..12, 1..31}.
date(Days) ->
    Era = floor_div(Days, ?ERA_DAYS),
    OfEra = Days - Era * ?ERA_DAYS,
    YearOfEra = (OfEra - OfEra div 1460 + OfEra div 36524 - OfEra div 146096) div 365,
    OfYear = OfEra - (365 * YearOfEra + YearOfEra div 4 - YearOfEra div 100),
    Month = (5 * OfYear + 2) div 153,
    Day = OfYear - (153 * Month + 2) div 5 + 1,
    Year = YearOfEra + Era * 400,
    case Month < 10 of
        true -> {Year, Month + 3, Day};
        false -> {Year + 1, Month - 9, Day}
    end.

-spec floor_div(integer(), pos_integer()) -> integer().
floor_div(A, B) when A >= 0 -> A div B;
floor_div(A, B) -> -((B - 1 - A) div B).

-spec two(0..99) -> binary().
two(N) -> <<(N div 10 + $0), (N rem 10 + $0)>>.
