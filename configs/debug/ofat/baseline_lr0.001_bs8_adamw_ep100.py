"""At toy size: ./run_single_ofat.sh baseline_lr0.001_bs8_adamw_ep100 --debug"""

from .._toy import toy

globals().update(toy("baseline_lr0.001_bs8_adamw_ep100"))
