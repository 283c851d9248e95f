"""The controller: TrainedModels of a namespace onto shards, for as long as it runs.

``views`` are the cluster's objects as far as they matter here, ``world`` holds what was seen of them last.
``fleet`` says what may be opened, ``wishes`` what a TrainedModel asks for, ``living`` who is where, and
``standing`` which transformers stand. ``opening`` chooses a new shard, ``settling`` finds places,
``restoring`` reads the plan back. ``fronting`` and ``routing`` have what is before shards; ``moving`` and
``closing`` bring moves, and shards that stay empty, to their end; ``releasing`` knows groups that no document
has any more, ``in_force`` keeps what was taken of documents, and ``renewing`` replaces outdated servers.
``objects`` and ``conditions`` are what the cluster should say, ``writes`` what has to be written for that,
and ``engine`` puts all of it together without a thread or a socket.

Everything durable is in the cluster's objects: who is where in the placement ConfigMaps, a copy on its way
out in an annotation of its TrainedModel, what is in force of documents beside them. A controller that was
stopped anywhere reads them again and goes on.
"""
