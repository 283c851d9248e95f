"""A plan carried out on this machine: real Triton processes, simulated GPUs.

Charter: start what a plan describes (servers, and the GPUs they see) on loopback and stop it again without a
trace. The servers, the files, the requests and the NVML client are real; the GPUs are book-keeping in C
(``native/FIDELITY.md`` says what they do and what they do not). Nothing here decides anything about a plan.
"""
