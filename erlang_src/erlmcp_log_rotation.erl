%% @private Older files of a log: `File.1' is the newest of them, `File.Count'
%% the oldest.
%%
%% The newest is left as it is, so that whoever follows the log can read it to
%% its end; those before it are compressed, by a process of its own.
-module(erlmcp_log_rotation).

-export([rotate/3]).
-export([finish/1]).

-export_type([compression/0]).

-type compression() :: {pid(), reference()} | none.

-define(CHUNK_BYTES, 262144).
-define(FINISH_MS, 60000).

%% Gives the file the name of the newest older one; those move on by one.
-spec rotate(file:filename_all(), non_neg_integer(), boolean()) ->
    {ok, compression()} | {error, file:posix() | atom()}.
rotate(File, 0, _Compress) ->
    without_compression(file:delete(File));
rotate(File, Count, Compress) ->
    %% The older ones stay where they are for a file that is gone.
    case file:read_file_info(File, [raw]) of
        {ok, _} -> moved_on(File, Count, Compress);
        {error, _} = Error -> Error
    end.

-spec moved_on(file:filename_all(), pos_integer(), boolean()) ->
    {ok, compression()} | {error, file:posix() | atom()}.
moved_on(File, Count, Compress) ->
    _ = [file:delete(name(File, Count, Suffix)) || Suffix <- ["", ".gz"]],
    _ = [file:rename(name(File, N, Suffix), name(File, N + 1, Suffix))
         || N <- lists:seq(Count - 1, 1, -1), Suffix <- ["", ".gz"]],
    case file:rename(File, name(File, 1, "")) of
        ok when Compress, Count > 1 -> {ok, start_compression(name(File, 2, ""))};
        Result -> without_compression(Result)
    end.

-spec without_compression(ok | {error, atom()}) -> {ok, none} | {error, atom()}.
without_compression(ok) -> {ok, none};
without_compression({error, _} = Error) -> Error.

-spec name(file:filename_all(), pos_integer(), string()) -> file:filename_all().
name(File, N, Suffix) ->
    iolist_to_binary([File, $., integer_to_binary(N), Suffix]).

-spec start_compression(file:filename_all()) -> compression().
start_compression(File) ->
    spawn_monitor(fun() -> compress(File) end).

%% Waits for the end of a compression: files may not be renamed under it.
-spec finish(compression()) -> ok.
finish(none) ->
    ok;
finish({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, _Reason} -> ok
    after ?FINISH_MS ->
        exit(Pid, kill),
        demonitor(Monitor, [flush]),
        ok
    end.

%% The original goes when all of it is compressed. One that cannot be compressed
%% stays as it is.
-spec compress(file:filename_all()) -> ok.
compress(File) ->
    Part = <<File/binary, ".part">>,
    case file:open(File, [read, raw, binary]) of
        {ok, In} ->
            Result = compress(In, Part),
            _ = file:close(In),
            case Result of
                ok ->
                    _ = file:rename(Part, <<File/binary, ".gz">>),
                    _ = file:delete(File),
                    ok;
                {error, _} ->
                    _ = file:delete(Part),
                    ok
            end;
        {error, _} ->
            ok
    end.

-spec compress(file:fd(), file:filename_all()) -> ok | {error, atom()}.
compress(In, Part) ->
    case file:open(Part, [write, raw, binary]) of
        {ok, Out} ->
            Z = zlib:open(),
            %% 16 more than the largest window: the format of gzip.
            ok = zlib:deflateInit(Z, default, deflated, 31, 8, default),
            Result = copy(In, Out, Z),
            ok = zlib:close(Z),
            _ = file:close(Out),
            Result;
        {error, _} = Error ->
            Error
    end.

-spec copy(file:fd(), file:fd(), zlib:zstream()) -> ok | {error, atom()}.
copy(In, Out, Z) ->
    case file:read(In, ?CHUNK_BYTES) of
        {ok, Bytes} ->
            case file:write(Out, zlib:deflate(Z, Bytes)) of
                ok -> copy(In, Out, Z);
                {error, _} = Error -> Error
            end;
        eof ->
            file:write(Out, zlib:deflate(Z, <<>>, finish));
        {error, _} = Error ->
            Error
    end.
