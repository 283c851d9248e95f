"""The agent beside a model server: it reads what the server should hold and makes it so.

Charter: base dependencies only, never the planner; it starts in a fraction of a second. Deciding is pure,
doing is thin; the agent may be killed between any two steps: what counts is on disk and on the server.

- ``desired`` and ``documents``: the documents it reads; the planner imports ``desired`` and nothing else.
- ``pins`` and ``pbtxt``: where a model runs, as an ordinal and as text in its ``config.pbtxt``.
- ``observed`` and ``actions`` (pure): what is seen, which actions follow, which may run side by side.
- ``outcomes`` and ``status``: one action carried out, what is known afterwards, what is told of it.
- ``ledger``, ``loop`` and ``workers``: observe, decide, act.
- ``servers``, ``layouts`` and ``storage``: model servers behind one port; what each needs in a model's
  folder; where models' files come from.
- ``repository``: the files of models, moved by rename only.
- ``memory`` and ``liveness``: what NVML says; whether the server answers, and which process of it.
- ``lock``: one agent a state directory.
- ``health``, ``metrics`` and ``cli``: probes, metrics and status over HTTP; the command.
"""
