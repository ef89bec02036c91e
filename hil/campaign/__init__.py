"""Campaigns: from a file to a plan of steps, from steps to a finished run.

::

    The file and the plan
        config                              what a file may say
        new_campaign                        a first file out of a few answers
        workload                            a real layer, spread over cores
        own_inputs                          vectors that it draws itself
        visits, plan                        its visits, and its steps with weights and vectors
        plan_fit                            whether measured steps fit a plan
        estimate                            what it would do, take and need
        chips                               several chips, a process for each
        guards                              what pauses it

    The bench
        bench, bench_time                   a chip that is ready, and the time that passes for it
        mock_resource, replay_resource      ``mock://`` and ``replay://``
        resource_options                    what stands behind ``?`` in them
        instruments, instrument_check, instrument_driver
        waits                               waiting so that who watches knows why

    Steps
        step_taking                         a step from its beginning, or from where it was left
        programming, measure, conclude      its parts: weights, counts, what they say
        judge, corrections_in_use           steps that judge a correction that is there
        drift_watch                         waiting until a core is old enough
        step_origin, step_remains, begun_anew, step_remarks, taken_step, concluded_again

    The run
        runner                              a campaign, a replay or a resume, as a whole
        run_desk, run_job, run_loop         what a run needs, what it works with, step after step
        run_lock, run_lock_file             one writer for each run directory
        resume, software, book_keeping
        control, process_identity           stopping it from another terminal
        interruption                        stopping it by a signal

    Who watches
        run_events, run_clock, observers    what happens, when, and who is told
        run_progress, run_tally             how far it is: the value, and what events add up to
        pace, pause_tally                   how long the rest takes, how a pause stands
        progress_file, log_file, run_status what others see of it
        notify, web_hook                    telling somebody when it is over
"""
