%% @doc A handler of logger that writes lines to a file, and the process that owns
%% the file.
%%
%% The application starts it where the setting `log_file' names a file. A line is
%% formatted in the process that logs ({@link erlmcp_log_formatter}) and sent to
%% the owner, which writes what has come meanwhile in one piece, so nobody waits
%% for a disk. At most `log_file_queue_bytes' wait; what is beyond is dropped and
%% counted in `erlmcp_log_dropped_total' with the reason `queue_full'.
%%
%% While the file cannot be written (no permission, a full disk, no folder),
%% lines go to standard output as they are, and every five seconds it is tried
%% again; a message says so at the beginning and at the end. A write that failed
%% in the midst is undone, so that no line is broken. A file that was deleted or
%% renamed by others is made anew within a second. Neither stops the node.
-module(erlmcp_log_file).

-behaviour(gen_server).

%% API
-export([start_link/1]).
-export([flush/0]).
-export([is_writing/0]).

%% logger callbacks
-export([log/2]).
-export([adding_handler/1]).
-export([changing_config/3]).
-export([filter_config/1]).

%% gen_server callbacks
-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).
-export([terminate/2]).

-export_type([options/0]).

-include_lib("kernel/include/file.hrl").

-type options() :: #{
    file := file:name_all(),
    level := logger:level(),
    max_bytes := pos_integer(),
    count := non_neg_integer(),
    compress := boolean(),
    queue_bytes := pos_integer()
}.

-define(HANDLER, ?MODULE).
-define(FLUSH_MS, 30000).
-define(RETRY_MS, 5000).
-define(CHECK_MS, 1000).
%% Written at once.
-define(BATCH_BYTES, 262144).

-record(state, {
    options :: options(),
    queued :: atomics:atomics_ref(),
    fd = none :: file:fd() | none,
    inode = none :: non_neg_integer() | none,
    %% Of a device nothing is renamed or cut off.
    is_regular = true :: boolean(),
    size = 0 :: non_neg_integer(),
    rotate_at = 0 :: non_neg_integer(),
    checked_ms = 0 :: integer(),
    %% Why it is not written, once that has been said.
    said = none :: none | atom(),
    compression = none :: erlmcp_log_rotation:compression()
}).

%% API

%% @doc Starts the owner of the file, which adds the handler.
-spec start_link(options()) -> {ok, pid()} | ignore | {error, term()}.
start_link(Options) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Options, []).

%% @doc Waits until what was logged before is written and on the disk; at most 30
%% seconds. A call of the owner.
-spec flush() -> ok | {error, not_running | timeout}.
flush() ->
    try
        gen_server:call(?MODULE, flush, ?FLUSH_MS)
    catch
        exit:{timeout, _} -> {error, timeout};
        exit:_ -> {error, not_running}
    end.

%% @doc Whether lines go to the file, and not to standard output. A call of the
%% owner.
-spec is_writing() -> boolean().
is_writing() ->
    try
        gen_server:call(?MODULE, is_writing)
    catch
        exit:_ -> false
    end.

%% logger callbacks

%% @private
-spec adding_handler(logger:handler_config()) -> {ok, logger:handler_config()}.
adding_handler(Config) ->
    {ok, Config}.

%% @private Level, filters and formatter can be changed; the rest is a setting.
-spec changing_config(set | update, logger:handler_config(), logger:handler_config()) ->
    {ok, logger:handler_config()}.
changing_config(_SetOrUpdate, #{config := Config}, New) ->
    {ok, New#{config => Config}}.

%% @private What is the owner's is nobody else's to see or to change.
-spec filter_config(logger:handler_config()) -> logger:handler_config().
filter_config(#{config := Config} = Handler) ->
    Handler#{config => maps:without([owner, queued], Config)}.

%% @private Runs in the process that logs. Never raises: logger would remove the
%% handler.
-spec log(logger:log_event(), logger:handler_config()) -> ok.
log(Event, #{formatter := {Formatter, FormatterConfig},
             config := #{owner := Owner, queued := Queued, queue_bytes := Max}}) ->
    try iolist_to_binary(Formatter:format(Event, FormatterConfig)) of
        Line -> queue(Line, Owner, Queued, Max)
    catch
        _:_ -> dropped(1, format_failed)
    end.

-spec queue(binary(), pid(), atomics:atomics_ref(), pos_integer()) -> ok.
queue(Line, Owner, Queued, Max) ->
    Bytes = byte_size(Line),
    case is_process_alive(Owner) of
        false ->
            dropped(1, not_running);
        true ->
            case atomics:add_get(Queued, 1, Bytes) of
                Sum when Sum =< Max ->
                    Owner ! {line, Line},
                    ok;
                _ ->
                    atomics:sub(Queued, 1, Bytes),
                    dropped(1, queue_full)
            end
    end.

-spec dropped(non_neg_integer(), atom()) -> ok.
dropped(0, _Reason) ->
    ok;
dropped(Count, Reason) ->
    try erlmcp_metrics:inc(<<"erlmcp_log_dropped_total">>, Count, #{reason => Reason}) of
        _ -> ok
    catch
        _:_ -> ok
    end.

%% gen_server callbacks

%% @private
-spec init(options()) -> {ok, #state{}}.
init(#{level := Level, queue_bytes := Max} = Options) ->
    process_flag(trap_exit, true),
    process_flag(message_queue_data, off_heap),
    Queued = atomics:new(1, [{signed, true}]),
    Handler = #{level => Level,
                formatter => {erlmcp_log_formatter, #{}},
                config => #{owner => self(), queued => Queued, queue_bytes => Max}},
    %% One that an owner has left that was killed.
    _ = logger:remove_handler(?HANDLER),
    _ = logger:add_handler(?HANDLER, ?MODULE, Handler),
    %% After it, so that it tells what is wrong with the file.
    {ok, open(#state{options = Options, queued = Queued})}.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(flush, _From, #state{fd = none} = State) ->
    {reply, ok, State};
handle_call(flush, _From, #state{fd = Fd} = State) ->
    _ = file:datasync(Fd),
    {reply, ok, State};
handle_call(is_writing, _From, #state{fd = Fd} = State) ->
    {reply, Fd =/= none, State};
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({line, Line}, State) ->
    {noreply, write(batch(Line, State), State)};
handle_info(try_again, #state{fd = none} = State) ->
    {noreply, open(State)};
handle_info({'DOWN', Monitor, process, Pid, _}, #state{compression = {Pid, Monitor}} = State) ->
    {noreply, State#state{compression = none}};
handle_info(_Message, State) ->
    {noreply, State}.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, State) ->
    _ = logger:remove_handler(?HANDLER),
    #state{fd = Fd, compression = Compression} = drained(State),
    ok = close(Fd),
    erlmcp_log_rotation:finish(Compression).

-spec drained(#state{}) -> #state{}.
drained(State) ->
    receive
        {line, Line} -> drained(write(batch(Line, State), State))
    after 0 ->
        State
    end.

%% Writing

%% A line and what has come meanwhile, no more than what a file may hold.
-spec batch(binary(), #state{}) -> {[binary()], pos_integer()}.
batch(Line, #state{options = #{max_bytes := MaxBytes}}) ->
    batch([Line], byte_size(Line), min(?BATCH_BYTES, MaxBytes div 2)).

-spec batch([binary()], pos_integer(), pos_integer()) -> {[binary()], pos_integer()}.
batch(Lines, Bytes, Most) when Bytes < Most ->
    receive
        {line, Line} -> batch([Line | Lines], Bytes + byte_size(Line), Most)
    after 0 ->
        {lists:reverse(Lines), Bytes}
    end;
batch(Lines, Bytes, _Most) ->
    {lists:reverse(Lines), Bytes}.

-spec write({[binary()], pos_integer()}, #state{}) -> #state{}.
write({Lines, Bytes} = Batch, #state{queued = Queued} = State) ->
    Written = to_file(Batch, rotated(Bytes, checked(State))),
    ok = atomics:sub(Queued, 1, Bytes),
    case Written of
        {ok, Next} ->
            Next;
        {error, Next} ->
            to_standard_output(Lines),
            Next
    end.

-spec to_file({[binary()], pos_integer()}, #state{}) -> {ok | error, #state{}}.
to_file(_Batch, #state{fd = none} = State) ->
    {error, State};
to_file({Lines, Bytes}, #state{fd = Fd, size = Size} = State) ->
    case file:write(Fd, Lines) of
        ok ->
            %% Only now: a file on a full disk can be opened.
            ok = say_that_it_works(State),
            {ok, State#state{size = Size + Bytes, said = none}};
        {error, Reason} ->
            ok = undo(State),
            {error, fails(Reason, State)}
    end.

%% A part of it may have been written.
-spec undo(#state{}) -> ok.
undo(#state{is_regular = true, fd = Fd, size = Size}) ->
    _ = file:position(Fd, Size),
    _ = file:truncate(Fd),
    ok;
undo(#state{is_regular = false}) ->
    ok.

-spec to_standard_output([binary()]) -> ok.
to_standard_output(Lines) ->
    try
        io:put_chars(user, Lines)
    catch
        %% There is none, or it does not know all of these characters.
        error:_ -> dropped(length(Lines), no_standard_output)
    end.

%% The file

-spec open(#state{}) -> #state{}.
open(#state{options = #{file := File, max_bytes := MaxBytes}} = State) ->
    case opened(File) of
        {ok, Fd, #file_info{size = Size, inode = Inode, type = Type}} ->
            ended(State#state{fd = Fd, inode = Inode, size = Size, is_regular = Type =:= regular,
                              rotate_at = MaxBytes, checked_ms = now_ms()});
        {error, Reason} ->
            fails(Reason, State)
    end.

-spec opened(file:name_all()) -> {ok, file:fd(), file:file_info()} | {error, atom()}.
opened(File) ->
    case filelib:ensure_dir(File) of
        ok ->
            case file:open(File, [append, raw, binary]) of
                {ok, Fd} ->
                    case file:read_file_info(File, [raw]) of
                        {ok, Info} ->
                            {ok, Fd, Info};
                        {error, _} = Error ->
                            ok = close(Fd),
                            Error
                    end;
                {error, _} = Error ->
                    Error
            end;
        {error, _} = Error ->
            Error
    end.

%% The node may have died in the midst of a line.
-spec ended(#state{}) -> #state{}.
ended(#state{is_regular = true, size = Size, fd = Fd, options = #{file := File}} = State)
  when Size > 0 ->
    case last_byte(File, Size) of
        {ok, <<"\n">>} ->
            State;
        _ ->
            case file:write(Fd, <<"\n">>) of
                ok -> State#state{size = Size + 1};
                {error, _} -> State
            end
    end;
ended(State) ->
    State.

-spec last_byte(file:name_all(), pos_integer()) -> {ok, binary()} | eof | {error, atom()}.
last_byte(File, Size) ->
    case file:open(File, [read, raw, binary]) of
        {ok, Fd} ->
            Byte = file:pread(Fd, Size - 1, 1),
            ok = close(Fd),
            Byte;
        {error, _} = Error ->
            Error
    end.

%% Whether the name still leads to the file.
-spec checked(#state{}) -> #state{}.
checked(#state{fd = none} = State) ->
    State;
checked(#state{checked_ms = Checked, options = #{file := File}, inode = Inode, fd = Fd} = State) ->
    Now = now_ms(),
    case Now - Checked < ?CHECK_MS orelse file:read_file_info(File, [raw]) of
        true ->
            State;
        {ok, #file_info{inode = Inode}} ->
            State#state{checked_ms = Now};
        _ ->
            ok = close(Fd),
            open(State#state{fd = none})
    end.

-spec rotated(pos_integer(), #state{}) -> #state{}.
rotated(Bytes, #state{fd = Fd, size = Size, rotate_at = At, is_regular = true,
                      compression = Before,
                      options = #{file := File, count := Count, compress := Compress,
                                  max_bytes := MaxBytes}} = State)
  when Fd =/= none, Size > 0, Size + Bytes > At ->
    ok = erlmcp_log_rotation:finish(Before),
    ok = close(Fd),
    case erlmcp_log_rotation:rotate(to_binary(File), Count, Compress) of
        {ok, Compression} ->
            open(State#state{fd = none, compression = Compression});
        {error, enoent} ->
            %% Somebody else has moved it.
            open(State#state{fd = none, compression = none});
        {error, Reason} ->
            %% It grows on, and is tried again when it has grown as much.
            say(warning, "the log file ~ts cannot be renamed (~ts): it grows on", [File, reason(Reason)]),
            #state{size = Grown} = Opened = open(State#state{fd = none, compression = none}),
            Opened#state{rotate_at = Grown + MaxBytes}
    end;
rotated(_Bytes, State) ->
    State.

-spec to_binary(file:name_all()) -> binary().
to_binary(File) when is_binary(File) -> File;
to_binary(File) -> unicode:characters_to_binary(File).

-spec close(file:fd() | none) -> ok.
close(none) ->
    ok;
close(Fd) ->
    _ = file:close(Fd),
    ok.

-spec now_ms() -> integer().
now_ms() ->
    erlang:monotonic_time(millisecond).

%% What is said of it

-spec fails(atom(), #state{}) -> #state{}.
fails(Reason, #state{fd = Fd, options = #{file := File}} = State) ->
    ok = close(Fd),
    _ = erlang:send_after(?RETRY_MS, self(), try_again),
    case State of
        #state{said = Reason} ->
            ok;
        _ ->
            say(warning, "the log file ~ts cannot be written (~ts): log lines go to standard output; "
                "it is tried again every ~b seconds",
                [File, reason(Reason), ?RETRY_MS div 1000])
    end,
    State#state{fd = none, inode = none, said = Reason}.

-spec say_that_it_works(#state{}) -> ok.
say_that_it_works(#state{said = none}) ->
    ok;
say_that_it_works(#state{options = #{file := File}}) ->
    say(notice, "the log file ~ts is written again", [File]).

-spec say(logger:level(), io:format(), [term()]) -> ok.
say(Level, Format, Args) ->
    logger:log(Level, "erlmcp_instrumentation: " ++ Format, Args,
               #{domain => [erlmcp, instrumentation]}).

-spec reason(atom()) -> string().
%% What filelib:ensure_dir/1 calls it, where a part of the path is a file.
reason(eexist) ->
    "a part of its path is no folder";
reason(Reason) ->
    file:format_error(Reason).
